"""The schedules, named `<cadence>_<job>`; all run from the start; times are UTC.

What happens because something changed belongs to `sensors`.
"""

import dagster as dg

from pipelines.jobs.upkeep import prune_history
from pipelines.resources import Warehouse
from warehouse.contracts import Job, Tag, Trigger, sync_config


@dg.schedule(
    name="nightly_full_rescan",
    job_name=Job.SYNC_LIBRARY,
    cron_schedule="0 3 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every night at three (UTC): look at every file again, whatever its folder's time says, which does "
    "not change when a file in it is edited in place; and network drives lie.",
)
def nightly_full_rescan() -> dg.RunRequest:
    """A sync that trusts no signature."""
    return dg.RunRequest(run_config=dict(sync_config()), tags={Tag.TRIGGER: Trigger.SCHEDULE})


weekly_prune_history = dg.ScheduleDefinition(
    name="weekly_prune_history",
    job=prune_history,
    cron_schedule="30 4 * * 0",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    tags={Tag.TRIGGER: Trigger.SCHEDULE},
    description="Every Sunday: delete old runs, jobs and generations, recommendations that were kept too long, and old "
    "records of changes.",
)


@dg.schedule(
    name="daily_back_up",
    job_name=Job.BACK_UP,
    cron_schedule="30 2 * * *",
    default_status=dg.DefaultScheduleStatus.RUNNING,
    description="Every night at half past two (UTC), where LORA_MANAGER_BACKUP_DIR names a folder: a backup, and the "
    "end of old ones.",
)
def daily_back_up(warehouse: dg.ResourceParam[Warehouse]) -> dg.RunRequest | dg.SkipReason:
    """A backup, where somebody said where to."""
    if warehouse.settings.backup_dir is None:
        return dg.SkipReason("LORA_MANAGER_BACKUP_DIR names no folder for backups")
    return dg.RunRequest(tags={Tag.TRIGGER: Trigger.SCHEDULE})


ALL = [nightly_full_rescan, weekly_prune_history, daily_back_up]
"""Every schedule of the code location."""
