"""`prune_history`: what grows without end is cut: old runs of Dagster, old generations of published files, old jobs,
recommendations kept too long, old entries of the audit log and the activity feed, files of pictures and parameters that
nobody needs.

Dagster keeps every run for ever; on a library that is watched that is the larger of the two.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
from pydantic import Field

from pipelines.queues import ON_DEFAULT
from pipelines.resources import Warehouse
from warehouse import audit
from warehouse.contracts import PUBLISHED_KINDS, Job
from warehouse.engine import Database
from warehouse.generations import collect
from warehouse.jobs import prune
from warehouse.jobs.attachments import collect_attachments
from warehouse.pictures import PictureStore
from warehouse.pictures.collecting import collect_pictures
from warehouse.queries import recommendations

_BATCH = 100
_TERMINAL = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]


class OldRunsConfig(dg.Config):
    """Which runs are old."""

    keep_days: int = Field(default=30, ge=1, description="Runs that ended longer ago than this are deleted.")


class OldJobsConfig(dg.Config):
    """Which jobs are old."""

    keep_days: int = Field(
        default=30, ge=1, description="Deliveries and generations that ended longer ago than this are deleted."
    )


class OldGenerationsConfig(dg.Config):
    """Which generations are old."""

    keep: int = Field(default=3, ge=1, description="The newest generations of each kind that are kept for a rollback.")


class OldRecordsConfig(dg.Config):
    """Which records of changes are old."""

    keep_days: int | None = Field(
        default=None, ge=0, description="Older ones are deleted, 0: none. Absent: as LORA_MANAGER_…_KEEP_DAYS says."
    )

    def delete(self, prune: Callable[[Database, datetime], int], database: Database, default: int) -> int:
        """Delete the old ones; returns how many."""
        days = default if self.keep_days is None else self.keep_days
        return prune(database, datetime.now(UTC) - timedelta(days=days)) if days else 0


def _runs_with_last_results(instance: dg.DagsterInstance) -> set[str]:
    """The runs that hold the last materialization of an asset or the last result of a check: what the UI shows."""
    keys = list(instance.all_asset_keys())
    kept = {record.asset_entry.last_run_id for record in instance.get_asset_records(keys)}
    kept |= {
        record.asset_entry.last_materialization.run_id
        for record in instance.get_asset_records(keys)
        if record.asset_entry.last_materialization is not None
    }
    return {run_id for run_id in kept if run_id is not None}


def _old_runs(instance: dg.DagsterInstance, before: datetime) -> Iterator[str]:
    cursor: str | None = None
    filters = dg.RunsFilter(statuses=_TERMINAL, updated_before=before)
    while records := instance.get_run_records(filters, limit=_BATCH, cursor=cursor):
        cursor = records[-1].dagster_run.run_id
        yield from [record.dagster_run.run_id for record in records]


@dg.op(description="Deletes runs that ended long ago, save those that hold the last result of an asset.")
def delete_old_runs(context: dg.OpExecutionContext, config: OldRunsConfig) -> int:
    """Delete old runs; returns how many."""
    kept = _runs_with_last_results(context.instance)
    old = [
        run_id
        for run_id in _old_runs(context.instance, datetime.now(UTC) - timedelta(days=config.keep_days))
        if run_id not in kept
    ]
    for run_id in old:
        context.instance.delete_run(run_id)
    context.log.info("%d runs deleted, %d older ones kept for their results", len(old), len(kept))
    context.add_output_metadata({"deleted": len(old)})
    return len(old)


@dg.op(description="Removes the files of old generations of published files.")
def collect_old_generations(
    context: dg.OpExecutionContext, config: OldGenerationsConfig, warehouse: dg.ResourceParam[Warehouse]
) -> int:
    """Collect old generations; returns how many."""
    collected = [
        name
        for kind in PUBLISHED_KINDS
        for name in collect(warehouse.database, warehouse.settings, kind, keep=config.keep)
    ]
    context.add_output_metadata({"collected": len(collected), "names": dg.MetadataValue.json(collected)})
    return len(collected)


def _forget_some(warehouse: Warehouse) -> int:
    # A transaction for each part, so that nobody waits for long.
    with warehouse.database.write() as connection:
        return recommendations.prune(connection)


@dg.op(description="Removes kept recommendations that have expired or that a change has overtaken.")
def forget_recommendations(context: dg.OpExecutionContext, warehouse: dg.ResourceParam[Warehouse]) -> int:
    """Remove what the API, which does so as it goes, has left since it was last asked; returns how many."""
    removed = 0
    while part := _forget_some(warehouse):
        removed += part
    context.add_output_metadata({"removed": removed})
    return removed


@dg.op(description="Deletes deliveries and generations that ended long ago, with their events.")
def delete_old_jobs(
    context: dg.OpExecutionContext, config: OldJobsConfig, warehouse: dg.ResourceParam[Warehouse]
) -> int:
    """Delete old jobs; returns how many."""
    deleted = prune(warehouse.database, datetime.now(UTC) - timedelta(days=config.keep_days))
    context.add_output_metadata({"deleted": deleted})
    return deleted


@dg.op(description="Removes files of large parameters that no job refers to.")
def collect_unneeded_attachments(context: dg.OpExecutionContext, warehouse: dg.ResourceParam[Warehouse]) -> int:
    """Remove the files of parameters of jobs that were deleted or never came to be; returns how many."""
    removed = collect_attachments(warehouse.database, warehouse.settings.attachments_dir)
    context.add_output_metadata({"removed": removed})
    return removed


@dg.op(description="Removes files of generated pictures that no result needs.")
def collect_unneeded_pictures(context: dg.OpExecutionContext, warehouse: dg.ResourceParam[Warehouse]) -> int:
    """Remove the files of pictures that were deleted or never got a row; returns how many."""
    removed = collect_pictures(warehouse.database, PictureStore(warehouse.settings.pictures_dir))
    context.add_output_metadata({"removed": removed})
    return removed


@dg.op(description="Deletes old entries of the audit log; the database refuses those of the last 30 days.")
def delete_old_audit_entries(
    context: dg.OpExecutionContext, config: OldRecordsConfig, warehouse: dg.ResourceParam[Warehouse]
) -> int:
    """Delete old audit entries; returns how many."""
    deleted = config.delete(audit.prune_audit, warehouse.database, warehouse.settings.audit_keep_days)
    context.add_output_metadata({"deleted": deleted})
    return deleted


@dg.op(description="Deletes what the activity feed told long ago; the last sync stays.")
def delete_old_activity(
    context: dg.OpExecutionContext, config: OldRecordsConfig, warehouse: dg.ResourceParam[Warehouse]
) -> int:
    """Delete old activity; returns how many."""
    deleted = config.delete(audit.prune_activity, warehouse.database, warehouse.settings.activity_keep_days)
    context.add_output_metadata({"deleted": deleted})
    return deleted


@dg.job(
    name=Job.PRUNE_HISTORY,
    tags=ON_DEFAULT,
    description="Delete old runs, old jobs, old generations of published files, recommendations that were kept too "
    "long, old records of changes, files of pictures and parameters that nothing needs; what is shown and served "
    "stays.",
)
def prune_history() -> None:
    """All of it, independent of each other."""
    delete_old_runs()
    delete_old_jobs()
    collect_old_generations()
    collect_unneeded_attachments()
    collect_unneeded_pictures()
    forget_recommendations()
    delete_old_audit_entries()
    delete_old_activity()
