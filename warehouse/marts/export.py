"""The export: every mart as Parquet and the catalog over them, published as one generation.

All facts are read in one snapshot of the database, so that they agree with each other, and the aggregates are
computed from the files just written, so that they agree with the facts. Memory is bounded by a row
group, not by the library.
Does not belong here: what the marts are (`facts`, `aggregates`).
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Select, func, select

from warehouse.engine import Database
from warehouse.generations import Manifest, Published, current, publish
from warehouse.locks import exclusive
from warehouse.marts import catalog, parquet
from warehouse.marts.aggregates import AGGREGATES
from warehouse.marts.declaration import Aggregate, Fact, Mart
from warehouse.marts.errors import MartError
from warehouse.marts.facts import FACTS
from warehouse.models import utc_now
from warehouse.settings import Settings

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    # At run time the marts need nothing of the ingest, and importing a package imports all of it.
    from warehouse.ingest.progress import Progress

LOCK = "marts"
_FETCH_ROWS = 2_000
"""Rows that exist as Python objects at a time."""


@dataclass(slots=True)
class _Written:
    """What was written of one mart."""

    rows: int = 0
    bytes: int = 0
    files: int = 0
    seconds: float = 0.0
    partitions: dict[str, int] = field(default_factory=dict)

    def add(self, path: Path, rows: int) -> None:
        self.rows += rows
        self.bytes += path.stat().st_size
        self.files += 1


def _stream(connection: Connection, statement: Select[Any], mart: Mart, schema: "pa.Schema") -> Iterator[Any]:
    result = connection.execution_options(yield_per=_FETCH_ROWS).execute(statement)
    for rows in result.partitions(_FETCH_ROWS):
        yield parquet.to_batch(mart, schema, rows)


def _write_fact(connection: Connection, fact: Fact, folder: Path, before: Published | None) -> _Written:
    if fact.partition_by is not None:
        return _write_partitions(connection, fact, folder, before)
    return _write_whole(connection, fact, folder)


def _write_whole(connection: Connection, fact: Fact, folder: Path) -> _Written:
    schema = fact.schema()
    path = folder / f"{fact.name}.parquet"
    expected = connection.execute(fact.count()).scalar_one()
    parquet.write(path, schema, _stream(connection, fact.statement(), fact, schema))
    parquet.verify(path, schema, expected)
    written = _Written()
    written.add(path, expected)
    return written


def _write_partitions(connection: Connection, fact: Fact, folder: Path, before: Published | None) -> _Written:
    day = fact.partition()
    counts = connection.execute(select(day, func.count()).select_from(fact.table).group_by(day).order_by(day)).all()
    if not counts:
        return _write_whole(connection, fact, folder)
    schema = fact.schema()
    closed = _closed_partitions(fact, before)
    written = _Written()
    for value, rows in counts:
        inner = Path(fact.name) / f"{fact.partition_by}={value.isoformat()}" / "part.parquet"
        path = folder / inner
        is_kept = before is not None and closed.get(value) == rows and parquet.link(before.path / inner, path)
        if not is_kept:
            parquet.write(path, schema, _stream(connection, fact.statement().where(day == value), fact, schema))
            parquet.verify(path, schema, rows)
        written.add(path, rows)
        written.partitions[value.isoformat()] = rows
    return written


def _closed_partitions(fact: Fact, before: Published | None) -> dict[date, int]:
    """Rows of the days that the generation before holds and that cannot have changed but by losing rows.

    Its newest day may have been taken again since. Rows of the days before are only ever deleted, with their adapter.
    """
    known = before.manifest["marts"].get(fact.name, {}) if before is not None else {}
    if known.get("fingerprint") != fact.fingerprint():
        return {}
    partitions = {date.fromisoformat(value): rows for value, rows in known.get("partitions", {}).items()}
    partitions.pop(max(partitions, default=date.min), None)
    return partitions


def _write_aggregate(connection: "duckdb.DuckDBPyConnection", aggregate: Aggregate, folder: Path) -> _Written:
    import duckdb

    path = folder / f"{aggregate.name}.parquet"
    try:
        rows = _compute(connection, aggregate, path)
    except duckdb.Error as error:
        raise MartError(f"mart {aggregate.name} could not be computed: {error}") from error
    parquet.verify(path, aggregate.schema(), rows)
    written = _Written()
    written.add(path, rows)
    return written


def _compute(connection: "duckdb.DuckDBPyConnection", aggregate: Aggregate, path: Path) -> int:
    import pyarrow as pa

    schema = aggregate.schema()
    reader: pa.RecordBatchReader = connection.sql(aggregate.sql).to_arrow_reader(_FETCH_ROWS)
    if sorted(reader.schema.names) != sorted(schema.names):
        raise MartError(f"mart {aggregate.name}: its SQL gives {reader.schema.names}, not the declared columns")

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in reader:
            yield from pa.Table.from_batches([batch]).select(schema.names).cast(schema).to_batches()

    return parquet.write(path, schema, batches())


def _register(connection: "duckdb.DuckDBPyConnection", folder: Path, name: str) -> None:
    # Names and folders are quoted by the catalog module.
    connection.execute(f"CREATE VIEW {catalog.identifier(name)} AS FROM {catalog.scan(folder, name)}")


def _build(database: Database, folder: Path, before: Published | None, progress: "Progress | None") -> Manifest:
    started = utc_now()
    if progress is not None:
        progress.start(len(FACTS) + len(AGGREGATES), "tables")
    marts: dict[str, dict[str, Any]] = {}

    def note(mart: Mart, written: _Written, since: float) -> None:
        entry = {
            "rows": written.rows,
            "bytes": written.bytes,
            "files": written.files,
            "seconds": round(time.perf_counter() - since, 3),
            "fingerprint": mart.fingerprint(),
        }
        if written.partitions:
            entry["partitions"] = written.partitions
        marts[mart.name] = entry
        if progress is not None:
            progress.advance()

    with database.read() as connection:
        if not database.is_sqlite:
            # SQLite reads one snapshot by nature; PostgreSQL would take one per statement.
            connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        for fact in FACTS:
            since = time.perf_counter()
            note(fact, _write_fact(connection, fact, folder, before), since)
    with catalog.workbench(folder) as duck:
        duck.execute("SET VARIABLE exported_at = ?", [started.replace(tzinfo=None)])
        for fact in FACTS:
            _register(duck, folder, fact.name)
        for aggregate in AGGREGATES:
            since = time.perf_counter()
            note(aggregate, _write_aggregate(duck, aggregate, folder), since)
            _register(duck, folder, aggregate.name)
    return {"exported_at": started.isoformat(), "marts": marts}


def export_marts(database: Database, settings: Settings, *, progress: "Progress | None" = None) -> Published:
    """Write, verify and publish every mart as one generation of `marts/analytics`, and lead the stable path to it.

    The manifest holds per mart `rows`, `bytes`, `files` and `seconds`.

    Raises:
        LockHeld: another export is under way.
        MartError: a mart could not be made or failed its verification.
        PublicationError: the disk is full or not writable.
        In every case the generation before stays in use.
    """
    with exclusive(database, LOCK):
        before = current(database, settings, catalog.KIND)
        published = publish(
            database,
            settings,
            catalog.KIND,
            lambda folder: _build(database, folder, before, progress),
            finish=catalog.create,
        )
        catalog.follow_pointer(database, settings)
    return published
