"""What a run of the command line says at its end: for programs as JSON, for people as a few lines.

Belongs here: the state of the library after the run, in plain data. Does not: how the run was started (`run`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
from sqlalchemy import Connection

from pipelines import figures
from pipelines.keys import INDEX, SPACE_NAMES
from pipelines.outcomes import Stages, stages_of
from pipelines.resources import Warehouse
from warehouse import facets
from warehouse.generations import current
from warehouse.models import Adapter, Document, File

Summary = Mapping[str, Any]


def _index(warehouse: Warehouse) -> Mapping[str, Any] | None:
    published = current(warehouse.database, warehouse.settings, INDEX.to_user_string())
    if published is None:
        return None
    return {"generation": published.name, **published.manifest}


def _coverage(connection: Connection) -> Mapping[str, float]:
    coverage = figures.coverage(connection, SPACE_NAMES)
    return {space: round(done / total, 4) if total else 1.0 for space, (done, total) in coverage.items()}


def _checks(events: Sequence[dg.DagsterEvent]) -> list[Mapping[str, Any]]:
    failed: list[Mapping[str, Any]] = []
    for event in events:
        if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
            evaluation = event.asset_check_evaluation_data
            if not evaluation.passed:
                failed.append(
                    {
                        "asset": evaluation.asset_key.to_user_string(),
                        "check": evaluation.check_name,
                        "severity": evaluation.severity.value,
                        "message": evaluation.description,
                    }
                )
    return failed


def summarise(warehouse: Warehouse, instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult) -> Summary:
    """The state of the library after a run, and what the run did."""
    run = result.dagster_run
    record = instance.get_run_record_by_id(run.run_id)
    seconds = (record.end_time or 0.0) - (record.start_time or 0.0) if record else 0.0
    stages: Stages = stages_of(instance, run.run_id)
    with warehouse.database.read() as connection:
        return {
            "job": run.job_name,
            "run_id": run.run_id,
            "status": "success" if result.success else "failure",
            "seconds": round(max(0.0, seconds), 3),
            "adapters": facets.count_of(connection),
            "adapters_by_state": figures.counts(connection, Adapter.file_state),
            "files_by_state": figures.counts(connection, File.state),
            "documents": figures.counts(connection, Document.verdict, Document.state == "present", unknown="unread"),
            "quarantined": figures.quarantined(connection),
            "left_out": figures.counts(
                connection, Document.reason_code, Document.verdict == "left_out", Document.state == "present"
            ),
            "invalid_files": figures.invalid_weights(connection),
            "findings": figures.findings(connection),
            "duplicates": figures.duplicate_groups(connection),
            "coverage": _coverage(connection),
            "index": _index(warehouse),
            "stages": stages,
            "failed_checks": _checks(result.all_events),
        }
