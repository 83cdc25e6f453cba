"""`lost_run_watch`: ends runs whose process died, so that the next one gets its turn."""

import dagster as dg

from pipelines.lost_runs import end_lost_runs, end_silent_runs
from pipelines.resources import Warehouse


@dg.sensor(
    name="lost_run_watch",
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Every 30 s: runs whose process is gone, or has not been heard of twice, are ended as failed, and free "
    "their pools.",
)
def lost_run_watch(context: dg.SensorEvaluationContext, warehouse: dg.ResourceParam[Warehouse]) -> dg.SkipReason:
    """Look after the runs that claim to be running."""
    lost = end_lost_runs(context.instance)
    silent, suspects = end_silent_runs(context.instance, warehouse.database, (context.cursor or "").split())
    context.update_cursor(" ".join(suspects))
    lost.extend(silent)
    return dg.SkipReason(f"ended {', '.join(run_id[:8] for run_id in lost)}" if lost else "every run is alive")
