"""What a finished run says in the activity feed: one row per run that changed something or failed, whoever writes it,
however often. A run that found nothing to do says nothing: a library is looked at day and night.

Belongs here: a run's materializations put into a sentence. Does not: when it is written (`sensors`, `run`).
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg
from sqlalchemy import insert, select

from pipelines.keys import ADAPTERS, ANALYTICS, DOCUMENTS, ENCODER, INDEX, INSPECTIONS, PAIRS, PROFILES
from warehouse.audit import SYNC
from warehouse.contracts import MARTS, Job, Metadata, Tag
from warehouse.engine import Database
from warehouse.models import Activity, utc_now

ADAPTERS_CHANGED = "adapters_changed"
"""Metadata of `catalog/documents`: adapters that were derived on the way. `catalog/adapters` of the same run counts
them among its own."""
_COUNTS = (
    Metadata.ROWS,
    Metadata.CHANGED,
    Metadata.SKIPPED,
    Metadata.REJECTED,
    Metadata.SECONDS,
)
_ENDS = {
    dg.DagsterRunStatus.SUCCESS: "finished",
    dg.DagsterRunStatus.FAILURE: "failed",
    dg.DagsterRunStatus.CANCELED: "was cancelled",
}

Stages = Mapping[str, Mapping[str, Any]]
"""Counts by asset key (`catalog/adapters`)."""


def stages_of(instance: dg.DagsterInstance, run_id: str) -> Stages:
    """The counts of every asset that a run materialised, in the order in which it did."""
    stages: dict[str, Mapping[str, Any]] = {}
    for entry in instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION):
        materialization = entry.asset_materialization
        if materialization is not None:
            values = {key: materialization.metadata[key].value for key in _COUNTS if key in materialization.metadata}
            stages[materialization.asset_key.to_user_string()] = values
    return stages


def _count(stages: Stages, key: dg.AssetKey, metadata: str) -> int:
    return int(stages.get(key.to_user_string(), {}).get(metadata, 0))


def summarise(job: str, status: dg.DagsterRunStatus, stages: Stages) -> str:
    """A sentence about a run: what it did to the library, or how it ended."""
    if status is not dg.DagsterRunStatus.SUCCESS:
        return f"{job} {_ENDS.get(status, 'ended')}"
    if job == Job.SYNC_LIBRARY:
        changed = _count(stages, ADAPTERS, Metadata.CHANGED)
        total = _count(stages, ADAPTERS, Metadata.ROWS)
        rejected = _count(stages, DOCUMENTS, Metadata.REJECTED) + _count(stages, INSPECTIONS, Metadata.REJECTED)
        refused = f", {rejected:,} files set aside" if rejected else ""
        return f"Library synced: {total:,} adapters, {changed:,} changed{refused}"
    if job == Job.REFRESH_VECTORS:
        return f"Vectors refreshed: {_count(stages, INDEX, Metadata.ROWS):,} adapters indexed"
    if job == Job.TUNE_ENCODER:
        is_new = _count(stages, ENCODER, Metadata.CHANGED) > 0
        return "Encoder tuned and published" if is_new else "Encoder tuned: the one in use stays"
    if job == Job.REFRESH_MARTS:
        return f"Tables published: {_count(stages, ANALYTICS, Metadata.ROWS):,} views"
    return f"{job} finished"


def _is_table(key: str) -> bool:
    return key.startswith(f"{MARTS}/")


def changed_something(stages: Stages) -> bool:
    """Whether a run changed anything but the moment of a publication: tables are published anew at the end of every
    sync, and count only where a run did nothing else. What is learned from use changes no library."""
    learned = {PAIRS.to_user_string(), PROFILES.to_user_string()}
    stages = {key: counts for key, counts in stages.items() if key not in learned}
    others = {key: counts for key, counts in stages.items() if not _is_table(key)}
    return any(int(counts.get(Metadata.CHANGED, 0)) > 0 for counts in (others or stages).values())


def record_outcome(database: Database, instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Write the activity of a finished run, unless it is written already or the run had nothing to do.

    Returns whether it was written now.
    """
    stages = stages_of(instance, run.run_id)
    if run.status is dg.DagsterRunStatus.SUCCESS and not changed_something(stages):
        return False
    kind = SYNC if run.job_name == Job.SYNC_LIBRARY else "materialization"
    told = {key: counts for key, counts in stages.items() if not _is_table(key) or key == ANALYTICS.to_user_string()}
    data: dict[str, Any] = {"job": run.job_name, "status": run.status.value, "trigger": run.tags.get(Tag.TRIGGER)}
    with database.write() as connection:
        if connection.execute(select(Activity.pk).where(Activity.subject_id == run.run_id)).first() is not None:
            return False
        connection.execute(
            insert(Activity).values(
                at=utc_now(),
                kind=kind,
                subject_id=run.run_id,
                summary=summarise(run.job_name, run.status, stages),
                data={**data, "stages": told},
            )
        )
    return True
