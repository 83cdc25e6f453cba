"""The production profile from the commands of `docker-compose.yml`: PostgreSQL, Redis, Celery workers, and what dies.

Every worker is a host of its own as far as a name makes one, so that nothing of it can be seen but what it writes.
"""

import random
import signal
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from typing import Any

import dagster as dg
import httpx
import pytest
from sqlalchemy import select

from tests.databases import scratch_postgresql
from tests.pipelines.receiver import Receiver, receiving
from tests.platform.compose import ROOT, NativeCompose, compose_config, tool
from warehouse.contracts import CODE_LOCATION, REPOSITORY, Job, Tag, sync_config
from warehouse.engine import Database, connect
from warehouse.models import Job as JobRow
from warehouse.models import Lane
from warehouse.samples import generate_library

pytestmark = [
    *(pytest.mark.platform, pytest.mark.slow, pytest.mark.failure, pytest.mark.timeout(600)),
    pytest.mark.xdist_group("production"),
]
PATH = "/api/v1/deliveries"
QUEUE = "dagster-celery/queue"
LAUNCH = """mutation($parameters: ExecutionParams!) {
  launchRun(executionParams: $parameters) { ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } }
}"""
TERMINATE = """mutation($id: String!) {
  terminateRun(runId: $id) { __typename ... on TerminateRunFailure { message } ... on PythonError { message } }
}"""
WORKERS = ("worker-default", "worker-delivery", "worker-gpu-cpu")
REPLACED = frozenset({"postgres", "store", "bucket"})
"""PostgreSQL is that of the tests; the store is not asked, as no address of one is set."""


class Production:
    """The running system, and questions to it."""

    def __init__(self, system: NativeCompose, database: Database, receiver: Receiver, key: str) -> None:
        self.system, self.database, self.receiver = system, database, receiver
        self.lost: list[str] = []
        """Runs whose worker a test killed; it takes minutes until that is noticed, in which the next tests run."""
        self.api = httpx.Client(
            base_url=f"http://{system.address('api')}:8000", headers={"X-API-Key": key}, trust_env=False, timeout=60
        )

    @cached_property
    def instance(self) -> dg.DagsterInstance:
        """Dagster's instance, once `prepare` has made it."""
        return dg.DagsterInstance.from_config(str(self.system.folder / "data" / "dagster"))

    def start_worker(self, service: str, name: str | None = None, **variables: str) -> None:
        """Start a worker on a host of its own name."""
        argv = self.system.argv(service)
        host = ("unshare", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"', name or service)
        self.system.launch(service, name=name, argv=(*host, *argv), **variables)

    def ask(self, query: str, **variables: Any) -> dict[str, Any]:
        """An answer of Dagster."""
        url = f"http://{self.system.address('webserver')}:3000/graphql"
        answer = httpx.post(url, json={"query": query, "variables": variables}, timeout=60, trust_env=False).json()
        assert "errors" not in answer, answer
        data: dict[str, Any] = answer["data"]
        return data

    def launch(self, job: str, config: Any = None) -> str:
        """Have a job of the library run."""
        selector = {"repositoryLocationName": CODE_LOCATION, "repositoryName": REPOSITORY, "jobName": job}
        parameters = {"selector": selector, "runConfigData": dict(config or {})}
        launched = self.ask(LAUNCH, parameters=parameters)["launchRun"]
        assert "run" in launched, launched
        run_id: str = launched["run"]["runId"]
        return run_id

    def run(self, run_id: str) -> tuple[str, Mapping[str, str]]:
        """The status and the tags of a run, those included that Dagster's UI hides."""
        run = self.instance.get_run_by_id(run_id)
        assert run is not None
        return run.status.value, run.tags

    def until_run(self, run_id: str, *statuses: str) -> None:
        """Wait for a status of a run."""
        self.system.until(lambda: self.run(run_id)[0] in statuses, f"run {run_id} is {statuses}", pause=0.5)

    def deliver(self, path: str = "") -> str:
        """Ask for a delivery to the receiver."""
        body = {"prompt": "a knight", "mode": "http", "params": {"url": f"{self.receiver.url}{path}"}}
        answer = self.api.post(PATH, json=body)
        assert answer.status_code == httpx.codes.CREATED, answer.text
        delivery_id: str = answer.json()["delivery_id"]
        return delivery_id

    def ended(self, delivery_id: str) -> dict[str, Any]:
        """Wait for the end of a delivery."""

        def shown() -> dict[str, Any]:
            delivery: dict[str, Any] = self.api.get(f"{PATH}/{delivery_id}").json()
            return delivery

        self.system.until(lambda: shown()["finished_at"] is not None, f"delivery {delivery_id} has ended", pause=0.5)
        return shown()

    def lane(self) -> tuple[str, str]:
        """The host that works on the lane of HTTP, and the run."""
        with self.database.read() as connection:
            row = connection.execute(select(Lane.holder, Lane.run_id).where(Lane.name == "http")).one()
        return str(row.holder).partition("|")[0], str(row.run_id)

    def attempts(self, delivery_ids: Iterable[str]) -> dict[str, tuple[str, int]]:
        """Deliveries with their status and how often they were started."""
        wanted = select(JobRow.id, JobRow.status, JobRow.attempts).where(JobRow.id.in_(list(delivery_ids)))
        with self.database.read() as connection:
            return {row.id: (row.status, row.attempts) for row in connection.execute(wanted)}

    def all_ended(self, delivery_ids: Iterable[str]) -> bool:
        """Whether none of them waits or is at work."""
        return all(status not in ("pending", "running") for status, _ in self.attempts(delivery_ids).values())


@pytest.fixture(scope="module")
def production(
    postgresql_server: str, models_dir: Any, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Production]:
    """The production profile, on the tests' PostgreSQL and a Redis of its own."""
    folder = tmp_path_factory.mktemp("production")
    tool("redis-server")
    url = scratch_postgresql(postgresql_server)
    config = compose_config(
        *("--env-file", str(ROOT / "docker" / "production.env")),
        COMPOSE_PROFILES="production,cpu",
        LORA_MANAGER_PUBLISHED_URL="",
        LIBRARY=str(folder),
    )
    network = f"127.{random.randint(1, 254)}.{random.randint(1, 254)}"
    # The receiver of deliveries listens where a container would not look.
    system = NativeCompose(folder, config, network, {"LORA_MANAGER_HTTP_ALLOWED_HOSTS": "127.0.0.1"}, REPLACED)
    secrets = system.make_secrets()
    (secrets / "database_url").write_text(url)
    key = (secrets / "api_keys").read_text().splitlines()[0].split(":")[2]
    (folder / "data" / "models").symlink_to(models_dir, target_is_directory=True)
    generate_library(folder / "library", adapters=12, seed=0)
    database = connect(url)
    with receiving() as receiver:
        started = Production(system, database, receiver, key)
        try:
            system.start("webserver", "daemon", "api")
            started.start_worker("worker-default")
            started.start_worker("worker-delivery")
            started.start_worker("worker-gpu-cpu", CUDA_VISIBLE_DEVICES="7")
            for service in ("code", "lanes", "redis", "webserver", "api", *WORKERS):
                system.until(lambda service=service: system.is_healthy(service), f"{service} is healthy", pause=0.5)
            yield started
        finally:
            receiver.let_go.set()
            started.api.close()
            started.instance.dispose()
            database.dispose()
            system.stop()


def test_runs_go_to_the_worker_of_their_queue(production: Production) -> None:
    sync = production.launch(Job.SYNC_LIBRARY, sync_config([production.system.folder / "library"]))
    delivery = production.ended(production.deliver())
    assert (delivery["status"], delivery["attempts"]) == ("succeeded", 1)
    production.until_run(sync, "SUCCESS", "FAILURE")
    marts = production.launch(Job.REFRESH_MARTS)
    production.until_run(marts, "SUCCESS", "FAILURE")
    seen = {}
    for run_id in (sync, marts, delivery["run_id"]):
        status, tags = production.run(run_id)
        assert status in ("SUCCESS", "STARTED"), production.system.log("worker-gpu-cpu")
        seen[run_id] = (tags[QUEUE], tags[Tag.PROCESS].partition("|")[0], tags.get(Tag.DEVICES))
    assert seen == {
        sync: ("gpu", "worker-gpu-cpu", "7"),
        marts: ("default", "worker-default", None),
        delivery["run_id"]: ("delivery", "worker-delivery", None),
    }


def test_what_a_killed_worker_had_in_hand_is_done_by_another(production: Production) -> None:
    system, receiver = production.system, production.receiver
    production.ended(production.deliver())
    host, run_id = production.lane()
    other = "worker-delivery-2" if host == "worker-delivery" else "worker-delivery"
    production.start_worker("worker-delivery", other)
    system.until(lambda: "ready" in system.log(other), f"{other} is ready")

    before = len(receiver.times())
    with ThreadPoolExecutor(8) as pool:
        ids = list(pool.map(lambda _: production.deliver("/pause/0.2"), range(60)))
    system.until(lambda: len(receiver.times()) - before > 10, "deliveries are under way")
    system.kill(host)
    caught = {key for key, (status, _) in production.attempts(ids).items() if status == "running"}
    assert caught

    system.until(lambda: production.all_ended(ids), "all have ended", pause=0.5)
    after = production.attempts(ids)
    assert {status for status, _ in after.values()} == {"succeeded"}
    assert {key for key, (_, attempts) in after.items() if attempts > 1} == caught
    times = receiver.times()
    assert set(ids) <= set(times)
    assert {key for key in ids if times[key] > 1} <= caught
    assert production.lane()[0] == other
    production.lost.append(run_id)


def test_a_delivery_and_a_run_are_cancelled_where_they_are(production: Production) -> None:
    system, receiver = production.system, production.receiver
    receiver.let_go.clear()
    slow = production.deliver("/slow")
    system.until(lambda: receiver.times()[slow] == 1, "the slow delivery is under way")
    answer = production.api.post(f"{PATH}/{slow}/cancel").json()
    assert answer["cancel_requested"] or answer["status"] == "cancelled", answer
    assert production.ended(slow)["status"] == "cancelled"

    again = production.deliver("/slow")
    system.until(lambda: receiver.times()[again] == 1, "another one is under way")
    _, run_id = production.lane()
    assert production.ask(TERMINATE, id=run_id)["terminateRun"]["__typename"] == "TerminateRunSuccess"
    production.until_run(run_id, "CANCELED")
    # It gave back what it had; the next one, which a delivery asks for at once, does it too.
    receiver.let_go.set()
    production.ended(production.deliver())
    ended = production.ended(again)
    assert (ended["status"], ended["attempts"]) == ("succeeded", 2)
    assert ended["run_id"] != run_id


def test_a_worker_that_is_stopped_gives_back_what_it_has(production: Production) -> None:
    system, receiver = production.system, production.receiver
    production.ended(production.deliver())
    host, run_id = production.lane()
    receiver.let_go.clear()
    held = production.deliver("/slow")
    system.until(lambda: receiver.times()[held] == 1, "the delivery is under way")
    worker = system.processes.pop(host)
    worker.send_signal(signal.SIGTERM)
    assert worker.wait(timeout=60) == 0
    # Nobody asked for the end of this run, so it counts as failed; a run of the library would be started again.
    assert production.run(run_id)[0] == "FAILURE"
    assert production.attempts([held]) == {held: ("pending", 1)}
    production.start_worker("worker-delivery", host)
    receiver.let_go.set()
    production.ended(production.deliver())
    assert production.ended(held)["status"] == "succeeded"


def test_a_redis_that_is_killed_costs_neither_runs_nor_deliveries(production: Production) -> None:
    system = production.system
    production.ended(production.deliver())
    _, run_id = production.lane()
    system.kill("redis")
    # A lane that is worked on asks Redis nothing.
    assert production.ended(production.deliver())["run_id"] == run_id
    # A run that begins now has nobody to go to, and Dagster says so instead of waiting for ever.
    begun = production.launch(Job.REFRESH_MARTS)
    production.until_run(begun, "FAILURE")
    system.launch("redis")
    system.until(lambda: system.is_healthy("redis"), "Redis is back", pause=0.5)
    marts = production.launch(Job.REFRESH_MARTS)
    production.until_run(marts, "SUCCESS", "FAILURE")
    assert production.run(marts)[0] == "SUCCESS"
    assert production.run(run_id)[0] == "STARTED"


def test_the_run_of_a_killed_worker_ends_as_failed(production: Production) -> None:
    # Nobody told Dagster, and the dead host cannot be looked at: its silence ends the run.
    for run_id in production.lost or pytest.fail("no worker was killed before"):
        production.until_run(run_id, "FAILURE")
