"""The run of a lane as a run of Dagster, and the watch that asks for runs."""

import os
import signal
import threading
from collections.abc import Iterator
from datetime import timedelta
from types import FrameType

import dagster as dg
import pytest
from sqlalchemy import select, update

from pipelines.delivery_definitions import build_delivery_definitions
from pipelines.jobs.lanes import Finished
from pipelines.jobs.runs import _alone, deliver
from pipelines.resources import Warehouse
from pipelines.sensors.lanes import lane_watch
from tests.pipelines.jobs.working import put, show, until
from tests.pipelines.receiver import Receiver, receiving
from warehouse.backends import plugins
from warehouse.contracts import LaneJob, Tag, lane_config
from warehouse.engine import Database
from warehouse.jobs import Ended, JobStatus, beat, claim, take_lane
from warehouse.models import Job, Lane, utc_now
from warehouse.processes import new_holder
from warehouse.settings import Settings


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as ephemeral:
        yield ephemeral


@pytest.fixture
def warehouse(sqlite_database: Database, settings: Settings) -> Warehouse:
    return Warehouse(sqlite_database, settings.model_copy(update={"lane_linger_seconds": 0.2}))


def _run(warehouse: Warehouse, instance: dg.DagsterInstance, lane: str = "http") -> dg.ExecuteInProcessResult:
    return deliver.execute_in_process(
        run_config=dict(lane_config(lane)),
        resources={"warehouse": dg.ResourceDefinition.hardcoded_resource(warehouse)},
        instance=instance,
        raise_on_error=False,
    )


def _observations(result: dg.ExecuteInProcessResult) -> list[dg.AssetObservation]:
    return [
        event.asset_observation_data.asset_observation
        for event in result.all_events
        if event.event_type is dg.DagsterEventType.ASSET_OBSERVATION
    ]


def test_definitions_load_and_say_what_they_are_for() -> None:
    definitions = build_delivery_definitions()
    dg.Definitions.validate_loadable(definitions)
    repository = definitions.get_repository_def()
    jobs = [job for job in repository.get_all_jobs() if not job.name.startswith("__")]
    assert {job.name for job in jobs} == set(LaneJob.BY_KIND.values())
    assert not [each.name for each in (*jobs, *repository.sensor_defs) if not each.description]
    keys = {key.to_user_string() for key in definitions.resolve_asset_graph().get_all_asset_keys()}
    assert {"deliveries/http", "deliveries/cli"} <= keys


def test_every_job_is_an_event_of_the_run_with_its_preview(
    warehouse: Warehouse, instance: dg.DagsterInstance, receiver: Receiver
) -> None:
    good = put(warehouse.database, {"url": receiver.url}, prompt="a knight|<b>")
    bad = put(warehouse.database, {"url": f"{receiver.url}/status/404"})
    result = _run(warehouse, instance)
    assert result.success
    observed = {str(each.metadata["job"].value): each for each in _observations(result)}
    assert set(observed) == {good, bad}
    assert observed[good].asset_key == dg.AssetKey(["deliveries", "http"])
    assert observed[bad].metadata["status"].value == "failed"
    preview = str(observed[good].metadata["preview"].value)
    assert "a knight\\|&lt;b&gt;" in preview
    assert "taken" in preview
    assert show(warehouse.database, good).run_id == result.run_id


def test_many_jobs_share_events_and_none_is_left_out(
    warehouse: Warehouse, instance: dg.DagsterInstance, receiver: Receiver
) -> None:
    ids = [put(warehouse.database, {"url": receiver.url}) for _ in range(150)]
    result = _run(warehouse, instance)
    previews = "".join(str(each.metadata["preview"].value) for each in _observations(result))
    assert all(job_id in previews for job_id in ids)
    assert len(_observations(result)) < 50


def test_a_lane_without_a_backend_fails_with_the_names_there_are(
    warehouse: Warehouse, instance: dg.DagsterInstance
) -> None:
    result = _run(warehouse, instance, "nowhere")
    assert not result.success
    failure = next(event for event in result.all_events if event.is_step_failure)
    assert ", ".join(sorted(plugins())) in str(failure.step_failure_data.error)


def test_a_second_run_ends_at_once(warehouse: Warehouse, instance: dg.DagsterInstance, receiver: Receiver) -> None:
    put(warehouse.database, {"url": f"{receiver.url}/slow"})

    def run_apart() -> None:
        with dg.DagsterInstance.ephemeral() as apart:
            _run(warehouse, apart)

    first = threading.Thread(target=run_apart)
    first.start()
    until(lambda: len(receiver.received) == 1)
    second = _run(warehouse, instance)
    assert second.success
    output = next(event for event in second.all_events if event.is_successful_output)
    assert output.step_output_data.metadata["ending"].value == "held"
    receiver.let_go.set()
    first.join()


def _tick(warehouse: Warehouse, instance: dg.DagsterInstance) -> list[dg.RunRequest]:
    context = dg.build_sensor_context(instance=instance, resources={"warehouse": warehouse})
    result = lane_watch(context)
    assert isinstance(result, (dg.SensorResult, dg.SkipReason))
    return list(result.run_requests or []) if isinstance(result, dg.SensorResult) else []


def test_the_watch_asks_for_a_run_where_jobs_wait_and_nobody_comes(
    warehouse: Warehouse, instance: dg.DagsterInstance
) -> None:
    assert _tick(warehouse, instance) == []
    put(warehouse.database, {})
    (request,) = _tick(warehouse, instance)
    assert request.job_name == LaneJob.DELIVER
    assert request.run_config == lane_config("http")
    assert request.tags[Tag.LANE] == "http"
    # One is on its way.
    assert _tick(warehouse, instance) == []
    with warehouse.database.write() as connection:
        connection.execute(update(Lane).values(requested_at=utc_now() - timedelta(minutes=1)))
    run = instance.create_run_for_job(deliver, run_config=dict(lane_config("http")), tags=dict(request.tags))
    assert _tick(warehouse, instance) == []
    instance.delete_run(run.run_id)
    assert len(_tick(warehouse, instance)) == 1


def test_the_watch_repairs_what_a_dead_run_left(warehouse: Warehouse, instance: dg.DagsterInstance) -> None:
    job = put(warehouse.database, {})
    holder = new_holder()
    with warehouse.database.write() as connection:
        take_lane(connection, "http", "delivery", holder, "gone")
    with warehouse.database.write() as connection:
        assert len(claim(connection, "http", holder, "gone", limit=5)) == 1
    assert _tick(warehouse, instance) == []
    with warehouse.database.write() as connection:
        long_ago = utc_now() - timedelta(minutes=1)
        connection.execute(update(Job).values(lease_expires_at=long_ago))
        connection.execute(update(Lane).values(heartbeat_at=long_ago))
    assert len(_tick(warehouse, instance)) == 1
    assert show(warehouse.database, job).status == "pending"


def test_the_watch_relieves_a_run_that_asks_for_it(warehouse: Warehouse, instance: dg.DagsterInstance) -> None:
    holder = new_holder()
    with warehouse.database.write() as connection:
        take_lane(connection, "http", "delivery", holder, "old")
    assert _tick(warehouse, instance) == []
    with warehouse.database.write() as connection:
        beat(connection, "http", holder, linger_until=None, heir_wanted=True)
    assert len(_tick(warehouse, instance)) == 1


def test_the_preview_of_a_generation_shows_its_pictures_and_loras_as_tables(warehouse: Warehouse) -> None:
    job_id = put(warehouse.database, {})
    holder = new_holder()
    with warehouse.database.write() as connection:
        take_lane(connection, "http", "delivery", holder, None)
        (job,) = claim(connection, "http", holder, limit=1, run_id=None)
    result = {
        "pictures": [{"sha256": "ab" * 32, "width": 64}, {"sha256": "cd" * 32, "width": 128}],
        "lora_report": {"applied": [{"name": "Ink", "sent_as": "styles/ink"}], "unknown": []},
        "backend": "sdnext",
    }
    observation = _alone(
        dg.AssetKey("lane"), Finished(Ended(job, JobStatus.SUCCEEDED, result), 1.5, "![the first picture](data:x)")
    )
    preview = observation.metadata["preview"].value
    assert isinstance(preview, str)
    assert job_id in preview
    assert "**pictures**\n\n| sha256 | width |" in preview
    assert f"| {'cd' * 32} | 128 |" in preview
    assert "**lora_report: applied**" in preview
    assert "| Ink | styles/ink |" in preview
    assert "| backend | sdnext |" in preview
    assert "![the first picture](data:x)" in preview


def test_a_run_that_is_interrupted_gives_back_what_it_has_before_it_ends(
    warehouse: Warehouse, instance: dg.DagsterInstance, receiver: Receiver
) -> None:
    job_id = put(warehouse.database, {"url": f"{receiver.url}/slow"})

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    def interrupt_in_the_middle() -> None:
        until(lambda: receiver.times()[job_id] == 1)
        os.kill(os.getpid(), signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, interrupt)
    killer = threading.Thread(target=interrupt_in_the_middle)
    killer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            deliver.execute_in_process(
                run_config=dict(lane_config("http")),
                resources={"warehouse": dg.ResourceDefinition.hardcoded_resource(warehouse)},
                instance=instance,
            )
    finally:
        killer.join()
        signal.signal(signal.SIGUSR1, before)
    job = show(warehouse.database, job_id)
    assert (job.status, job.attempts) == ("pending", 1)
    with warehouse.database.read() as connection:
        assert connection.execute(select(Lane.holder).where(Lane.name == "http")).scalar_one() is None
