"""`run_<end>_watch`: every run that ended becomes a row of the activity feed.

Dagster gives one sensor per status, so they come from a factory.
"""

import dagster as dg

from pipelines.outcomes import record_outcome
from pipelines.resources import Warehouse


def _watch(status: dg.DagsterRunStatus, end: str) -> dg.SensorDefinition:
    @dg.run_status_sensor(
        run_status=status,
        name=f"run_{end}_watch",
        minimum_interval_seconds=10,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Writes each run that {end} to the activity feed.",
    )
    def watch(context: dg.RunStatusSensorContext, warehouse: dg.ResourceParam[Warehouse]) -> None:
        record_outcome(warehouse.database, context.instance, context.dagster_run)

    return watch


OUTCOME_WATCHES = [
    _watch(dg.DagsterRunStatus.SUCCESS, "succeeded"),
    _watch(dg.DagsterRunStatus.FAILURE, "failed"),
    _watch(dg.DagsterRunStatus.CANCELED, "canceled"),
]
