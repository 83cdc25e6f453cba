"""What those who watch the service see at `/metrics`, in Prometheus' text format.

Belongs here: the registry of one application, what is counted of requests, and what is read at a scrape: statements,
pool, recommender, the gauges of the library (`warehouse.queries.gauges`). Does not: figures for people (`dashboard`).

Nothing here grows with the library, neither the work of a scrape nor the labels: routes are named by their templates.
Figures are those of this process; where several serve, each is scraped. `docs/operations.md` lists every name.
"""

import logging
import platform
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.pool import QueuePool
from starlette.types import Scope

from serving.security import API_PREFIXES
from serving.version import VERSION
from warehouse.engine import Database
from warehouse.queries.gauges import GAUGES
from warehouse.statements import Statements

if TYPE_CHECKING:
    from serving.recommender import SharedRecommender

PREFIX = "lora_manager_"
UNMATCHED = "none"
"""The route of what was refused before a route was looked for, or for which there is none."""
_PAGES = frozenset(("/", "/docs", "/openapi.json"))
_FILES = "/static"
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_BYTES = tuple(2.0**power for power in range(8, 26, 3))
_RECOMMENDATIONS = {"find_similar": "similar", "recommend_for_prompt": "prompt"}
"""Operations whose latency is watched on its own."""
_RECOMMENDER_STATES = ("loading", "ready", "failed", "absent")

_log = logging.getLogger(__name__)


class Metrics:
    """The metrics of one application; several may live in a process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        build = self._gauge("build_info", "What runs: always 1.", ("version", "python"))
        build.labels(VERSION, platform.python_version()).set(1)
        self._requests = self._counter("http_requests", "Requests answered.", ("route", "method", "status"))
        self._seconds = self._histogram(
            "http_request_duration_seconds", "Time to answer.", _SECONDS, ("route", "method")
        )
        self._in_flight = self._gauge("http_requests_in_flight", "Requests that are being answered.")
        self._sockets = self._gauge("websockets_open", "WebSockets that are open.")
        self._received = self._histogram("http_request_body_bytes", "Sizes of bodies that were sent here.", _BYTES)
        self._sent = self._histogram("http_response_body_bytes", "Sizes of bodies of answers.", _BYTES)
        self._recommendations = self._histogram(
            "recommendation_duration_seconds", "Time to answer a question for recommendations.", _SECONDS, ("kind",)
        )
        for kind in _RECOMMENDATIONS.values():
            self._recommendations.labels(kind)
        # Looking children up by their labels costs more than counting: each is looked up once.
        self._children: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def _gauge(self, name: str, description: str, labels: tuple[str, ...] = ()) -> Gauge:
        return Gauge(PREFIX + name, description, labels, registry=self._registry)

    def _counter(self, name: str, description: str, labels: tuple[str, ...] = ()) -> Counter:
        return Counter(PREFIX + name, description, labels, registry=self._registry)

    def _histogram(
        self, name: str, description: str, buckets: tuple[float, ...], labels: tuple[str, ...] = ()
    ) -> Histogram:
        return Histogram(PREFIX + name, description, labels, registry=self._registry, buckets=buckets)

    def began(self, method: str) -> None:
        """Count a request that has come in."""
        (self._sockets if method == "WEBSOCKET" else self._in_flight).inc()

    def answered(self, scope: Scope, method: str, status: int, seconds: float, sent: int) -> None:
        """Count a request that is over. Status 0: it was not answered, because its client left or it is a WebSocket."""
        if method == "WEBSOCKET":
            self._sockets.dec()
            return
        self._in_flight.dec()
        key = (template_of(scope), method if method in _METHODS else "other", status)
        children = self._children.get(key)
        if children is None:
            requests = self._requests.labels(key[0], key[1], str(status))
            children = self._children[key] = (requests, self._seconds.labels(key[0], key[1]))
        children[0].inc()
        children[1].observe(seconds)
        self._sent.observe(sent)
        if received := scope["state"].get("received"):
            self._received.observe(received)
        kind = _RECOMMENDATIONS.get(getattr(scope.get("route"), "operation_id", None) or "")
        if kind is not None and status == 200:
            self._recommendations.labels(kind).observe(seconds)

    def watch(self, database: Database, statements: Statements, recommender: "SharedRecommender") -> None:
        """Show also what these know, read at each scrape."""
        self._registry.register(_Process(database, statements, recommender))
        self._registry.register(_Library(database))

    def scrape(self) -> bytes:
        """Everything, as Prometheus reads it."""
        return generate_latest(self._registry)


def template_of(scope: Scope) -> str:
    """The template of the route that answered a request: `/api/v1/adapters/{adapter_id}`."""
    path: str = scope["path"]
    template: str | None = getattr(scope.get("route"), "path", None)
    if template is None:
        if path.startswith(_FILES + "/"):
            return _FILES
        return path if path in _PAGES else UNMATCHED
    # A router is included under several prefixes, and knows its routes without them.
    prefix = next((each for each in API_PREFIXES if path.startswith(each + "/")), "")
    return template if template.startswith(prefix) else prefix + template


class _Process(Collector):
    """Statements, pool and recommender."""

    def __init__(self, database: Database, statements: Statements, recommender: "SharedRecommender") -> None:
        self._database = database
        self._statements = statements
        self._recommender = recommender

    def describe(self) -> Iterable[Metric]:
        """Nothing: else registering would collect."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The figures of this moment."""
        yield from self._of_statements()
        yield from self._of_pool()
        yield from self._of_recommender()

    def _of_statements(self) -> Iterator[Metric]:
        labels = ("verb", "table")
        count = CounterMetricFamily(f"{PREFIX}statements", "Statements executed.", labels=labels)
        seconds = CounterMetricFamily(f"{PREFIX}statement_seconds", "Time spent executing statements.", labels=labels)
        for kind, spent in self._statements.snapshot().items():
            count.add_metric((kind.verb, kind.table), spent.count)
            seconds.add_metric((kind.verb, kind.table), spent.seconds)
        yield count
        yield seconds

    def _of_pool(self) -> Iterator[Metric]:
        pool = self._database.engine.pool
        connections = GaugeMetricFamily(f"{PREFIX}pool_connections", "Database connections.", labels=("state",))
        size = GaugeMetricFamily(f"{PREFIX}pool_size", "Connections that the pool keeps.")
        overflow = GaugeMetricFamily(f"{PREFIX}pool_overflow", "Connections beyond those that the pool keeps.")
        if isinstance(pool, QueuePool):
            connections.add_metric(("checked_out",), pool.checkedout())
            connections.add_metric(("idle",), pool.checkedin())
            size.add_metric((), pool.size())
            # Below zero it says how many the pool has not opened yet.
            overflow.add_metric((), max(0, pool.overflow()))
        yield from (connections, size, overflow)
        waits, waited = self._database.waits.total()
        yield CounterMetricFamily(f"{PREFIX}pool_checkouts", "Connections taken from the pool.", value=waits)
        description = "Time waited for a connection of the pool, or for one to open."
        yield CounterMetricFamily(f"{PREFIX}pool_wait_seconds", description, value=waited)

    def _of_recommender(self) -> Iterator[Metric]:
        found = self._recommender.state()
        state = GaugeMetricFamily(f"{PREFIX}recommender_state", "1 for the state it is in.", labels=("state",))
        for name in _RECOMMENDER_STATES:
            state.add_metric((name,), float(name == found.status))
        age = GaugeMetricFamily(f"{PREFIX}index_age_seconds", "Time since the published index was made.")
        size = GaugeMetricFamily(f"{PREFIX}index_adapters", "Adapters in the published index.")
        if found.published is not None:
            age.add_metric((), (datetime.now(UTC) - found.published.created_at).total_seconds())
            size.add_metric((), found.published.manifest.get("n", 0))
        yield from (state, age, size)


class _Library(Collector):
    """The gauges of the library. A database that does not answer is itself a figure."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def describe(self) -> Iterable[Metric]:
        """Nothing: else registering would collect."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """The figures of this moment."""
        up = GaugeMetricFamily(f"{PREFIX}database_up", "Whether the database answers.")
        families: list[Metric] = []
        try:
            with self._database.read() as connection:
                families = list(self._read(connection))
            up.add_metric((), 1)
        except SQLAlchemyError:
            _log.exception("the gauges of the library cannot be read")
            up.add_metric((), 0)
        yield up
        yield from families

    def _read(self, connection: Connection) -> Iterator[Metric]:
        for gauge in GAUGES:
            family = GaugeMetricFamily(PREFIX + gauge.name, gauge.description, labels=gauge.labels)
            for sample in gauge.read(connection):
                family.add_metric(sample.labels, sample.value)
            yield family
