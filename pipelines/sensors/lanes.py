"""`lane_watch`: repairs what got lost between a request and its run.

The API asks for runs itself, at once; this looks after lanes when that failed, when a run died with jobs in hand, when
a repeated attempt is due with nobody there, and when a run is to be relieved.
"""

import dagster as dg

from pipelines.jobs.runs import deliver, generate
from pipelines.resources import Warehouse
from warehouse import jobs
from warehouse.contracts import LaneJob, Tag, Trigger, lane_config, lane_tags
from warehouse.engine import Database
from warehouse.jobs import LaneState

_ON_THEIR_WAY = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING]


def _is_on_its_way(instance: dg.DagsterInstance, lane: str) -> bool:
    filters = dg.RunsFilter(tags={Tag.LANE: lane}, statuses=_ON_THEIR_WAY)
    return bool(instance.get_run_records(filters, limit=1))


def _needs_run(database: Database, instance: dg.DagsterInstance, state: LaneState) -> bool:
    if _is_on_its_way(instance, state.name):
        return False
    if state.is_alive:
        return state.heir_wanted and not state.has_heir
    with database.read() as connection:
        if not jobs.look(connection, state.name).is_due:
            return False
    with database.write() as connection:
        return jobs.ask_for_run(connection, state.name)


def _request(state: LaneState) -> dg.RunRequest:
    return dg.RunRequest(
        job_name=LaneJob.BY_KIND[state.kind],
        run_config=dict(lane_config(state.name)),
        tags=dict(lane_tags(state.name, Trigger.WATCH)),
    )


@dg.sensor(
    name="lane_watch",
    jobs=[deliver, generate],
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Every 30 s: jobs whose run died wait again or have failed; lanes in which jobs wait and no run works "
    "get one; a run that has worked for an hour is relieved.",
)
def lane_watch(
    context: dg.SensorEvaluationContext, warehouse: dg.ResourceParam[Warehouse]
) -> dg.SensorResult | dg.SkipReason:
    """Look after the lanes."""
    given_back = jobs.expire_leases(warehouse.database)
    with warehouse.database.read() as connection:
        lanes = jobs.lane_states(connection)
    requests = [_request(state) for state in lanes if _needs_run(warehouse.database, context.instance, state)]
    if requests:
        return dg.SensorResult(run_requests=requests)
    if given_back:
        return dg.SkipReason(f"jobs of a run that died wait again in: {', '.join(given_back)}")
    return dg.SkipReason("every lane with work has its run")
