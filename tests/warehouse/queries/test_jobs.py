"""Lists of jobs: exact totals, a total order, pages that join without a gap."""

import itertools
import random

import pytest

from tests.warehouse.jobs.work import put, take
from warehouse.engine import Database
from warehouse.jobs import Ended, JobKind, JobStatus, NewJob, cancel, enqueue, update_jobs
from warehouse.queries import cursors, jobs
from warehouse.queries.jobs import JobFilter, JobPage, JobRow


@pytest.fixture
def filled(database: Database) -> Database:
    """Jobs of three modes, two kinds and all statuses, mixed."""
    chance = random.Random(7)
    ids = [put(database, chance.choice(["http", "cli"])).id for _ in range(60)]
    with database.write() as connection:
        for _ in range(12):
            enqueue(connection, NewJob(JobKind.GENERATION, "sdnext", "sdnext", "p", {}))
    for mode in ("http", "cli", "sdnext"):
        ends = itertools.cycle([JobStatus.SUCCEEDED, JobStatus.FAILED, None])
        for claimed in take(database, lane=mode, limit=10):
            end = next(ends)
            if end is not None:
                with database.write() as connection:
                    update_jobs(connection, "me", [Ended(claimed, end, {})])
    with database.write() as connection:
        for job_id in ids[-4:]:
            cancel(connection, job_id)
    return database


def _page(database: Database, narrowed: JobFilter, **where: object) -> JobPage:
    with database.read() as connection:
        return jobs.page(connection, narrowed, **where)  # type: ignore[arg-type]


def _passes(row: JobRow, narrowed: JobFilter) -> bool:
    return (
        narrowed.kind in (None, row.kind)
        and narrowed.mode in (None, row.mode)
        and (not narrowed.statuses or row.status in narrowed.statuses)
    )


KINDS = (None, "delivery", "generation")
MODES = (None, "http", "sdnext", "unknown")
STATUSES: tuple[tuple[str, ...], ...] = ((), ("pending",), ("succeeded", "failed"), ("cancelled",))


def test_pages_of_every_filter_are_the_list(filled: Database) -> None:
    everything = _page(filled, JobFilter(), limit=500).rows
    assert [row.pk for row in everything] == sorted((row.pk for row in everything), reverse=True)
    for narrowed in itertools.starmap(JobFilter, itertools.product(KINDS, MODES, STATUSES)):
        expected = [row.id for row in everything if _passes(row, narrowed)]
        assert _by_cursor(filled, narrowed, total=len(expected)) == expected
        by_offset = [
            row.id for offset in range(0, 80, 30) for row in _page(filled, narrowed, limit=30, offset=offset).rows
        ]
        assert by_offset == expected


def _by_cursor(database: Database, narrowed: JobFilter, *, total: int) -> list[str]:
    by_cursor: list[str] = []
    cursor = None
    while True:
        found = _page(database, narrowed, limit=13, cursor=cursor)
        assert found.total == total
        assert found.offset == len(by_cursor)
        by_cursor.extend(row.id for row in found.rows)
        cursor = found.next_cursor
        if cursor is None:
            return by_cursor


def test_a_cursor_of_another_list_and_a_deep_offset_are_refused(filled: Database) -> None:
    cursor = _page(filled, JobFilter(mode="http"), limit=5).next_cursor
    with pytest.raises(cursors.CursorError, match="another list"):
        _page(filled, JobFilter(), limit=5, cursor=cursor)
    assert _page(filled, JobFilter(), limit=5, offset=20_000).rows == []


def test_counts_by_status_are_those_of_the_rows(filled: Database) -> None:
    rows = _page(filled, JobFilter(), limit=500).rows
    with filled.read() as connection:
        every = jobs.counts_by_status(connection)
        generations = jobs.counts_by_status(connection, kind="generation")
    assert every == {status.value: sum(row.status == status for row in rows) for status in JobStatus}
    assert sum(generations.values()) == 12
