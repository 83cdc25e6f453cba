"""A lane at work on real jobs: many at once, woken, cancelled, stopped, relieved."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field

import pytest
from pydantic import BaseModel, ConfigDict

from pipelines.backends.http import PLUGIN
from pipelines.jobs.feed import PER_MINUTE
from pipelines.jobs.lanes import Ending
from tests.pipelines.jobs.working import finished, put, show, until, working
from tests.pipelines.receiver import Receiver, receiving
from warehouse.backends import BackendPlugin, Outcome, Progress
from warehouse.engine import Database
from warehouse.jobs import ClaimedJob, JobKind, JobStatus, cancel, lane_state
from warehouse.queries import dashboard, jobs
from warehouse.settings import Settings


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


def test_what_waits_is_delivered_many_at_once_and_each_once(
    database: Database, settings: Settings, receiver: Receiver
) -> None:
    ids = [put(database, {"url": f"{receiver.url}/pause"}) for _ in range(40)]
    with working(database, settings) as lane:
        rows = finished(database, *ids)
        later = put(database, {"url": f"{receiver.url}/later"})
        rows += finished(database, later)
    assert {row.status for row in rows} == {"succeeded"}
    assert {(row.attempts, row.run_id) for row in rows} == {(1, "a-run")}
    assert receiver.times() == dict.fromkeys([*ids, later], 1)
    assert 2 < receiver.most_at_once <= PLUGIN.concurrency
    assert {each.ended.job.id for each in lane.finished} == {*ids, later}
    with database.read() as connection:
        told = dashboard.activity(connection, limit=100)
    # Each was told when it was asked for; this is about how they ended.
    feed = [item for item in told if (item.data or {}).get("status") != "pending"]
    assert len(told) - len(feed) == 41
    assert len(feed) == PER_MINUTE + 1
    assert sum(item.subject_id is None for item in feed) == 1
    assert feed[0].summary.startswith(f"{41 - PER_MINUTE} more deliveries by http: ")


def test_a_second_run_of_a_lane_ends_at_once_and_an_idle_one_leaves(
    sqlite_database: Database, settings: Settings, receiver: Receiver
) -> None:
    with working(sqlite_database, settings, linger=0.3) as first:
        job = put(sqlite_database, {"url": receiver.url})
        finished(sqlite_database, job)
        with working(sqlite_database, settings) as second:
            assert second.ended() is Ending.HELD
        assert first.ended() is Ending.IDLE
    assert receiver.times() == {job: 1}


def test_a_passing_failure_is_tried_again_in_its_time(
    sqlite_database: Database, settings: Settings, receiver: Receiver
) -> None:
    receiver.statuses = [503]
    with working(sqlite_database, settings, linger=0):
        (row,) = finished(sqlite_database, put(sqlite_database, {"url": receiver.url}))
    assert (row.status, row.attempts, row.error) == ("succeeded", 2, None)
    assert [each.body["attempt"] for each in receiver.received] == [1, 2]


def test_a_running_job_is_cancelled(database: Database, settings: Settings, receiver: Receiver) -> None:
    with working(database, settings):
        job = put(database, {"url": f"{receiver.url}/slow"})
        until(lambda: len(receiver.received) == 1)
        with database.write() as connection:
            cancel(connection, job)
        (row,) = finished(database, job)
    assert row.status == "cancelled"
    assert "may have taken effect" in (row.error or "")


def test_what_a_stopped_run_has_in_hand_waits_again(
    sqlite_database: Database, settings: Settings, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.jobs.lanes.STOP_SECONDS", 0.1)
    with working(sqlite_database, settings) as lane:
        slow = put(sqlite_database, {"url": f"{receiver.url}/slow"})
        until(lambda: len(receiver.received) == 1)
        lane.run.stop()
        assert lane.ended() is Ending.STOPPED
    assert (show(sqlite_database, slow).status, show(sqlite_database, slow).attempts) == ("pending", 1)
    receiver.let_go.set()
    with working(sqlite_database, settings, linger=0):
        (row,) = finished(sqlite_database, slow)
    assert (row.status, row.attempts) == ("succeeded", 2)


def test_a_run_that_did_its_share_works_on_until_its_heir_is_there(
    database: Database, settings: Settings, receiver: Receiver
) -> None:
    with working(database, settings, max_jobs=3) as old:
        finished(database, *[put(database, {"url": receiver.url}) for _ in range(5)])

        def is_to_be_relieved() -> bool:
            with database.read() as connection:
                state = lane_state(connection, "http")
            return state is not None and state.heir_wanted

        until(is_to_be_relieved)
        with working(database, settings) as heir:
            assert old.ended() is Ending.RELIEVED
            finished(database, *[put(database, {"url": receiver.url}) for _ in range(5)])
        assert heir.ended() is Ending.STOPPED
    assert sum(receiver.times().values()) == len(receiver.times()) == 10
    assert len(heir.finished) == 5


class _Params(BaseModel):
    model_config = ConfigDict(extra="allow")


@dataclass
class _Painter:
    """A backend as generators have it: steps, an interrupt between two of them, one job at a time."""

    painted: list[str] = field(default_factory=list)
    interrupted: list[str] = field(default_factory=list)

    async def submit(self, job: ClaimedJob) -> "_Painting":
        if job.params.get("breaks"):
            raise RuntimeError("a defect")
        return _Painting(self, job)

    async def close(self) -> None: ...


class _Painting:
    def __init__(self, painter: _Painter, job: ClaimedJob) -> None:
        self._painter, self._job = painter, job
        self._stopped = asyncio.Event()

    @property
    def id(self) -> str:
        return self._job.id

    async def events(self) -> AsyncIterator[Progress]:
        # As SD.Next tells it: twice from the beginning.
        for percent in self._job.params.get("burst", ()):
            yield Progress(percent, {"step": percent, "steps": 10})
        if "burst" in self._job.params:
            await self._stopped.wait()
        for percent in (10, 50, 90, 5, 60, 100):
            if self._stopped.is_set():
                return
            yield Progress(percent, {"step": percent // 10, "steps": 10})
            await asyncio.sleep(0.25)
        if self._job.params.get("forever"):
            await self._stopped.wait()

    async def result(self) -> Outcome:
        if self._stopped.is_set():
            self._painter.interrupted.append(self._job.id)
            return Outcome(JobStatus.CANCELLED, error="interrupted")
        self._painter.painted.append(self._job.id)
        return Outcome(JobStatus.SUCCEEDED, {"images": ["aGk="]}, preview="a picture")

    async def interrupt(self) -> None:
        self._stopped.set()


@pytest.fixture
def painter() -> tuple[BackendPlugin, _Painter]:
    backend = _Painter()
    plugin = BackendPlugin("paint", "Paints.", JobKind.GENERATION, _Params, open=lambda _settings: backend)
    return plugin, backend


def test_a_generation_tells_its_progress_and_never_falls_back(
    database: Database, settings: Settings, painter: tuple[BackendPlugin, _Painter]
) -> None:
    plugin, backend = painter
    job, broken = put(database, {}, plugin), put(database, {"breaks": True}, plugin)
    with working(database, settings, plugin) as lane:
        done, failed = finished(database, job, broken)
    assert (done.status, done.kind, done.progress, done.result) == (
        "succeeded",
        "generation",
        100.0,
        {"images": ["aGk="]},
    )
    assert (failed.status, failed.error) == ("failed", "unexpected RuntimeError; the run's log has it")
    assert [each.preview for each in lane.finished if each.ended.job.id == job] == ["a picture"]
    with database.read() as connection:
        events = jobs.events_of(connection, job, limit=100)
    told = [event.payload["progress"] for event in events if event.type == "progress"]
    assert told == sorted(told)
    assert told[0] == 10
    assert told[-1] == 100
    assert backend.painted == [job]


def test_the_last_progress_of_a_burst_is_told_while_the_job_goes_on(
    database: Database, settings: Settings, painter: tuple[BackendPlugin, _Painter]
) -> None:
    job = put(database, {"burst": [10, 20, 30, 42]}, painter[0])

    def told() -> list[tuple[float, int]]:
        with database.read() as connection:
            events = jobs.events_of(connection, job, limit=100)
        return [(each.payload["progress"], each.payload["step"]) for each in events if each.type == "progress"]

    with working(database, settings, painter[0]):
        until(lambda: told()[-1:] == [(42, 42)])
        assert told() == [(10, 10), (42, 42)]
        with database.write() as connection:
            cancel(connection, job)
        finished(database, job)


def test_a_generation_is_interrupted_and_the_next_one_comes(
    sqlite_database: Database, settings: Settings, painter: tuple[BackendPlugin, _Painter]
) -> None:
    plugin, backend = painter
    endless, next_one = put(sqlite_database, {"forever": True}, plugin), put(sqlite_database, {}, plugin)
    with working(sqlite_database, settings, plugin):
        until(lambda: show(sqlite_database, endless).progress > 0)
        assert show(sqlite_database, next_one).status == "pending"
        with sqlite_database.write() as connection:
            cancel(connection, endless)
        first, second = finished(sqlite_database, endless, next_one)
    assert (first.status, second.status) == ("cancelled", "succeeded")
    assert (backend.interrupted, backend.painted) == ([endless], [next_one])


def test_a_target_that_does_not_stop_is_dropped(
    sqlite_database: Database,
    settings: Settings,
    painter: tuple[BackendPlugin, _Painter],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def deaf(self: _Painting) -> None: ...

    monkeypatch.setattr(_Painting, "interrupt", deaf)
    monkeypatch.setattr("pipelines.jobs.lanes.INTERRUPT_SECONDS", 0.2)
    plugin, _ = painter
    endless = put(sqlite_database, {"forever": True}, plugin)
    with working(sqlite_database, settings, plugin):
        until(lambda: show(sqlite_database, endless).progress > 0)
        with sqlite_database.write() as connection:
            cancel(connection, endless)
        (row,) = finished(sqlite_database, endless)
    assert row.status == "cancelled"
    assert "did not stop" in (row.error or "")
