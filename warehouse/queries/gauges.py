"""Figures of the library for those who watch the service: each a name, a description, and a way to read it cheaply.

Belongs here: what is read whenever somebody scrapes `/metrics`, so a counter, the end of an index, a row; never a scan.
Does not: figures of a process (`serving.metrics`). A table that has something worth watching adds a line to `GAUGES`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from warehouse import facets
from warehouse.jobs import lane_states, look
from warehouse.models import Root, utc_now
from warehouse.queries import breakdowns, embeddings, jobs

_STATES_AT_MOST = 10


@dataclass(frozen=True, slots=True)
class Sample:
    """One value of a gauge."""

    labels: tuple[str, ...]
    """The values of the gauge's labels, in their order; few and known beforehand, never a user's text."""
    value: float


@dataclass(frozen=True, slots=True)
class Gauge:
    """A figure and how it is read."""

    name: str
    description: str
    labels: tuple[str, ...]
    read: Callable[[Connection], Iterable[Sample]]


def _adapters(connection: Connection) -> Iterable[Sample]:
    yield Sample((), facets.count_of(connection))


def _active(connection: Connection) -> Iterable[Sample]:
    yield Sample((), facets.count_of(connection, "active", "true"))


def _by_file_state(connection: Connection) -> Iterable[Sample]:
    for state, count in breakdowns.counted(connection, "file_state", limit=_STATES_AT_MOST):
        yield Sample((state or "unknown",), count)


def _embedded(connection: Connection) -> Iterable[Sample]:
    for space, count in embeddings.coverage(connection).items():
        yield Sample((space,), count)


def _coverage(connection: Connection) -> Iterable[Sample]:
    embedded = max(embeddings.coverage(connection).values(), default=0)
    yield Sample((), min(1.0, embedded / max(facets.count_of(connection), 1)))


def _jobs(connection: Connection) -> Iterable[Sample]:
    for status, count in jobs.counts_by_status(connection).items():
        yield Sample((status,), count)


def _unattended(connection: Connection) -> Iterable[Sample]:
    for lane in lane_states(connection):
        yield Sample((lane.name,), float(not lane.is_alive and look(connection, lane.name).is_due))


def _scan_age(connection: Connection) -> Iterable[Sample]:
    oldest = connection.execute(select(func.min(Root.scanned_at))).scalar()
    if oldest is not None:
        yield Sample((), (utc_now() - oldest).total_seconds())


GAUGES: tuple[Gauge, ...] = (
    Gauge("adapters", "Adapters of the library.", (), _adapters),
    Gauge("active_adapters", "Adapters that are active.", (), _active),
    Gauge("adapters_by_file_state", "Adapters by the state of their weight file.", ("state",), _by_file_state),
    Gauge("embedded_adapters", "Adapters with a vector.", ("space",), _embedded),
    Gauge("jobs", "Deliveries and generations by their status.", ("status",), _jobs),
    Gauge("lane_unattended", "1 where jobs are due and no living run works on their lane.", ("lane",), _unattended),
    Gauge("library_scan_age_seconds", "Time since the folder scanned longest ago was scanned.", (), _scan_age),
    Gauge("embedding_coverage_ratio", "Share of the adapters with a vector.", (), _coverage),
)
