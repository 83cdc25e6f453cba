"""What a finished run says in the activity feed: one row per run, whoever writes it, however often.

Belongs here: a run's materializations put into a sentence. Does not: when it is written (`sensors`, `run`).
"""

from collections.abc import Mapping
from typing import Any

import dagster as dg
from sqlalchemy import insert, select

from pipelines.keys import ADAPTERS, DOCUMENTS, INDEX, INSPECTIONS
from warehouse.contracts import Job, Metadata, Tag
from warehouse.engine import Database
from warehouse.models import Activity, utc_now

ADAPTERS_CHANGED = "adapters_changed"
"""Metadata of `catalog/documents`: adapters that were derived on the way, which `catalog/adapters` does not count."""
_COUNTS = (
    Metadata.ROWS,
    Metadata.CHANGED,
    Metadata.SKIPPED,
    Metadata.REJECTED,
    Metadata.SECONDS,
    ADAPTERS_CHANGED,
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
        changed = _count(stages, ADAPTERS, Metadata.CHANGED) + _count(stages, DOCUMENTS, ADAPTERS_CHANGED)
        total = _count(stages, ADAPTERS, Metadata.ROWS)
        rejected = _count(stages, DOCUMENTS, Metadata.REJECTED) + _count(stages, INSPECTIONS, Metadata.REJECTED)
        refused = f", {rejected:,} files set aside" if rejected else ""
        return f"Library synced: {total:,} adapters, {changed:,} changed{refused}"
    if job == Job.REFRESH_VECTORS:
        return f"Vectors refreshed: {_count(stages, INDEX, Metadata.ROWS):,} adapters indexed"
    return f"{job} finished"


def record_outcome(database: Database, instance: dg.DagsterInstance, run: dg.DagsterRun) -> bool:
    """Write the activity of a finished run, unless it is written already; returns whether it was written now."""
    stages = stages_of(instance, run.run_id)
    kind = "sync" if run.job_name == Job.SYNC_LIBRARY else "materialization"
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
                data={**data, "stages": stages},
            )
        )
    return True
