"""How jobs change: asked for, claimed, finished, cancelled, retried, found after a crash; and the lanes that do them.

Every change of a job writes the job, its event and the counters in one transaction. Belongs here: these changes.
Does not: reading jobs for lists (`warehouse.queries.jobs`), what a job does (`warehouse.backends` and its plugins),
and the process that does it (`pipelines.jobs.lanes`).

On PostgreSQL every function takes its locks in one order (jobs, lanes, counters, events), so that no two of them can
wait for each other.
"""

from warehouse.jobs.changes import JobKind, JobStatus
from warehouse.jobs.claiming import ClaimedJob, Look, cancelled_among, claim, give_back, in_flight_of, look
from warehouse.jobs.finishing import Ended, Tick, Update, update_jobs
from warehouse.jobs.lanes import (
    LaneState,
    TakenLane,
    ask_for_run,
    beat,
    give_back_others,
    has_heir,
    lane_state,
    lane_states,
    release_lane,
    take_lane,
    withdraw_request,
)
from warehouse.jobs.requests import (
    Enqueued,
    JobStateError,
    KeyReused,
    NewJob,
    UnstorableError,
    cancel,
    enqueue,
    request_digest,
    retry,
)
from warehouse.jobs.upkeep import expire_leases, prune
from warehouse.jobs.wakeups import ChangeWatch

__all__ = [
    "ChangeWatch",
    "ClaimedJob",
    "Ended",
    "Enqueued",
    "JobKind",
    "JobStateError",
    "JobStatus",
    "KeyReused",
    "LaneState",
    "Look",
    "NewJob",
    "TakenLane",
    "Tick",
    "UnstorableError",
    "Update",
    "ask_for_run",
    "beat",
    "cancel",
    "cancelled_among",
    "claim",
    "enqueue",
    "expire_leases",
    "give_back",
    "give_back_others",
    "has_heir",
    "in_flight_of",
    "lane_state",
    "lane_states",
    "look",
    "prune",
    "release_lane",
    "request_digest",
    "retry",
    "take_lane",
    "update_jobs",
    "withdraw_request",
]
