"""Lanes: at most one run works on each, says so every few seconds, and leaves without losing a job that just came.

The race between leaving and asking is closed by the counter `wanted`, which every job that becomes due raises: a run
leaves only if the counter is what it was before its last look for work, and who raises it looks for a run afterwards.
Belongs here: who holds a lane. Does not: its jobs (`claiming`), starting a run (`serving.runs`, the sensor).
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from sqlalchemy import Connection, select, update

from warehouse.dialects import shared_now
from warehouse.engine import AnyRow
from warehouse.jobs.changes import notify, want
from warehouse.jobs.claiming import LEASE, give_back, in_flight_of
from warehouse.models import Job, Lane
from warehouse.processes import is_holder_gone

HEARTBEAT = timedelta(seconds=5)
"""How often a run says that it works on its lane."""

REQUEST_PATIENCE = timedelta(seconds=30)
"""How long a run that was asked for may take to come before another is asked for: 3 to 5 s, more on a busy machine."""

HOLDER_GONE = "the process that worked on it is gone"


class TakenLane(StrEnum):
    """What became of an attempt to take a lane."""

    TAKEN = "taken"
    HELD = "held"
    """Another run works on it: this one is not needed."""
    NEXT = "next"
    """Another run works on it and is to be relieved: this one is its heir, and tries again."""


@dataclass(frozen=True, slots=True)
class LaneState:
    """A lane as others see it."""

    name: str
    kind: str
    is_alive: bool
    """Whether a living run works on it."""
    run_id: str | None
    heir_wanted: bool
    has_heir: bool
    requested_at: datetime | None

    def needs_run(self, now: datetime) -> bool:
        """Whether a run should be asked for, were there work: none is there, and none is on its way."""
        # A request of the future was made before the clock was set back.
        on_its_way = self.requested_at is not None and abs(now - self.requested_at) < REQUEST_PATIENCE
        return not self.is_alive and not on_its_way


_COLUMNS = (
    *(Lane.name, Lane.kind, Lane.holder, Lane.run_id, Lane.heartbeat_at, Lane.heir_wanted, Lane.heir),
    Lane.requested_at,
)


def _is_alive(holder: str | None, heartbeat_at: datetime | None, now: datetime) -> bool:
    # A sign of life from the future was given before the clock was set back: who lives gives another soon.
    if holder is None or heartbeat_at is None or abs(now - heartbeat_at) > LEASE:
        return False
    return not is_holder_gone(holder)


def _state(row: AnyRow, now: datetime) -> LaneState:
    has_heir = row.heir is not None and not is_holder_gone(row.heir)
    alive = _is_alive(row.holder, row.heartbeat_at, now)
    return LaneState(row.name, row.kind, alive, row.run_id, row.heir_wanted, has_heir, row.requested_at)


def lane_state(connection: Connection, lane: str) -> LaneState | None:
    """A lane; None while it never had a job."""
    row = connection.execute(select(*_COLUMNS).where(Lane.name == lane)).first()
    return None if row is None else _state(row, shared_now(connection))


def lane_states(connection: Connection) -> list[LaneState]:
    """Every lane, by name."""
    now = shared_now(connection)
    return [_state(row, now) for row in connection.execute(select(*_COLUMNS).order_by(Lane.name))]


def take_lane(connection: Connection, lane: str, kind: str, holder: str, run_id: str | None) -> TakenLane:
    """Become the one run of a lane, unless a living one is. What a lost predecessor had in hand is given back."""
    want(connection, lane, kind)
    now = shared_now(connection)
    row = connection.execute(select(*_COLUMNS).where(Lane.name == lane).with_for_update()).one()
    state = _state(row, now)
    if state.is_alive:
        if not state.heir_wanted or (state.has_heir and row.heir != holder):
            return TakenLane.HELD
        connection.execute(update(Lane).where(Lane.name == lane).values(heir=holder, requested_at=None))
        return TakenLane.NEXT
    connection.execute(
        update(Lane)
        .where(Lane.name == lane)
        .values(
            holder=holder,
            run_id=run_id,
            heartbeat_at=now,
            linger_until=None,
            heir_wanted=False,
            heir=None,
            requested_at=None,
        )
    )
    return TakenLane.TAKEN


def give_back_others(connection: Connection, lane: str, holder: str) -> None:
    """Give back every running job of a lane that is not its present holder's: there is one holder at a time."""
    give_back(connection, (Job.lane == lane) & ~in_flight_of(holder), HOLDER_GONE)


def beat(connection: Connection, lane: str, holder: str, *, linger_until: datetime | None, heir_wanted: bool) -> bool:
    """Say that the holder lives, for its lane and the jobs in its hands.

    Returns:
        Whether the lane is still its own.
    """
    now = shared_now(connection)
    connection.execute(
        update(Job)
        .where(Job.lane == lane, Job.status == "running", in_flight_of(holder))
        .values(lease_expires_at=now + LEASE)
    )
    statement = update(Lane).where(Lane.name == lane, Lane.holder == holder)
    values = {"heartbeat_at": now, "linger_until": linger_until, "heir_wanted": heir_wanted}
    return connection.execute(statement.values(**values)).rowcount == 1


def has_heir(connection: Connection, lane: str) -> bool:
    """Whether a living run waits to take over."""
    state = lane_state(connection, lane)
    return state is not None and state.has_heir


def release_lane(connection: Connection, lane: str, holder: str, *, wanted: int | None = None) -> bool:
    """Leave a lane.

    Args:
        wanted: the counter before the last look for work: leave only if nothing came since. None: leave anyway.

    Returns:
        Whether the lane is left; False if something came, or if it was the holder's no longer.
    """
    statement = update(Lane).where(Lane.name == lane, Lane.holder == holder)
    if wanted is not None:
        statement = statement.where(Lane.wanted == wanted)
    values = {"holder": None, "run_id": None, "heartbeat_at": None, "linger_until": None, "heir_wanted": False}
    released = connection.execute(statement.values(**values)).rowcount == 1
    if released:
        notify(connection, [lane])
    return released


def ask_for_run(connection: Connection, lane: str) -> bool:
    """Note that a run is asked for now, so that nobody else asks at the same time.

    Returns:
        Whether to ask: no living run works on the lane, and none is on its way.
    """
    row = connection.execute(select(*_COLUMNS).where(Lane.name == lane).with_for_update()).first()
    now = shared_now(connection)
    if row is None or not _state(row, now).needs_run(now):
        return False
    connection.execute(update(Lane).where(Lane.name == lane).values(requested_at=now))
    return True


def withdraw_request(connection: Connection, lane: str) -> None:
    """Say that the run that was asked for does not come: the next one who looks may ask again."""
    connection.execute(update(Lane).where(Lane.name == lane).values(requested_at=None))
