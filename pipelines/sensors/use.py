"""`use_watch`: asks for a run that learns from use, where there is something to learn."""

import dagster as dg

from pipelines.resources import Warehouse
from pipelines.sensors.library import UNFINISHED
from warehouse import learning
from warehouse.contracts import Job, Tag, Trigger


@dg.sensor(
    job_name=Job.LEARN_FROM_USE,
    minimum_interval_seconds=300,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Every five minutes: was anything delivered, generated, activated or liked that was not learned from "
    "yet? Then a run is asked for. What is learned changes no more often, so that answers are kept in between.",
)
def use_watch(
    context: dg.SensorEvaluationContext, warehouse: dg.ResourceParam[Warehouse]
) -> dg.RunRequest | dg.SkipReason:
    """Look whether any use is new."""
    with warehouse.database.read() as connection:
        if not learning.pairs_due(connection, warehouse.settings) and not learning.profiles_due(
            connection, warehouse.settings
        ):
            return dg.SkipReason("nothing was used since the last time")
    under_way = context.instance.get_run_records(
        dg.RunsFilter(job_name=Job.LEARN_FROM_USE, statuses=UNFINISHED), limit=1
    )
    if under_way:
        return dg.SkipReason(f"a run is under way ({under_way[0].dagster_run.run_id[:8]})")
    return dg.RunRequest(tags={Tag.TRIGGER: Trigger.WATCH})
