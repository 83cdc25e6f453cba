"""A database copied into an empty one, of the other dialect or the same.

Rows go over in chunks, each a transaction of the target together with the place that was reached, so that a copy that
was killed goes on where it was. While it runs the source is locked against writing, by the lock of SQLite or locks of
every table of PostgreSQL: whoever wants to change it waits or is told so, and nothing is changed that was copied
already. The target is at no revision until all of it was compared, so that nobody works on a half.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import msgspec
from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    insert,
    inspect,
    select,
    table,
    text,
    update,
)
from sqlalchemy.exc import OperationalError

from warehouse import migrations
from warehouse.engine import Database
from warehouse.models import Lane, Lock, utc_now
from warehouse.processes import is_holder_gone
from warehouse.transfer import PortableRow, TransferError
from warehouse.transfer.digests import TableDigest, digest_of
from warehouse.transfer.reading import read_rows, snapshot
from warehouse.transfer.sequences import read_sequences, write_sequences
from warehouse.transfer.shapes import COUNTERS, TableShape, shapes
from warehouse.transfer.writing import prepare, write_rows

CHUNK_ROWS = 5_000
"""Rows of a transaction of the target."""
CHUNK_BYTES = 8 * 2**20
"""A chunk that has reached so many bytes is not filled further."""
_LANE_ALIVE = timedelta(seconds=60)
"""A lane whose run has said nothing for so long has none."""

_METADATA = MetaData()
_PROGRESS = Table(
    "database_copy",
    _METADATA,
    Column("table_name", String(64), primary_key=True, comment="Empty: of the copy as a whole"),
    Column("after", Text, comment="Key of the last row that was copied, as JSON; of the whole: the revision"),
    Column("rows", Integer, nullable=False),
    Column("done", Boolean, nullable=False),
)
"""In the target, for as long as the copy is not finished."""

Say = Callable[[str], None]


class BusyError(TransferError):
    """Somebody works on the source."""


@dataclass(frozen=True, slots=True)
class Compared:
    """A table on both sides."""

    table: str
    source_rows: int
    target_rows: int
    source_digest: str
    target_digest: str

    @property
    def is_same(self) -> bool:
        """Whether both hold the same rows."""
        return (self.source_rows, self.source_digest) == (self.target_rows, self.target_digest)


def workers(connection: Connection) -> list[str]:
    """Who works on a database just now, in words."""
    now = utc_now()
    locks = connection.execute(select(Lock.name, Lock.holder).where(Lock.expires_at > now)).all()
    lanes = connection.execute(
        select(Lane.name, Lane.holder).where(Lane.holder.is_not(None), Lane.heartbeat_at > now - _LANE_ALIVE)
    ).all()
    found = [("work", *row) for row in locks] + [("the lane", *row) for row in lanes]
    return [
        f"{what} '{name}' of {_process(holder)}"
        for what, name, holder in found
        if holder and not is_holder_gone(holder)
    ]


def _process(holder: str) -> str:
    host, pid, *_ = [*holder.split("|"), "?"]
    return f"process {pid} on {host}"


@contextmanager
def _held(source: Database) -> Iterator[Connection]:
    """The source as it is, and as it stays for the block.

    Raises:
        BusyError: somebody writes, or works on it.
    """
    with source.write() if source.is_sqlite else source.read() as connection:
        if not source.is_sqlite:
            connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
            connection.execute(text("SET LOCAL lock_timeout = '10s'"))
            names = ", ".join(f'"{shape.name}"' for shape in shapes())
            connection.execute(text(f"LOCK TABLE {names} IN SHARE MODE"))
        if busy := workers(connection):
            raise BusyError(f"the source is in use: {', '.join(busy)}. Stop the system first")
        yield connection


def copy_database(
    source: Database, target: Database, *, start_over: bool = False, say: Say = lambda _: None
) -> list[Compared]:
    """Copy every table, or go on with a copy that did not come to its end; returns what was compared, a row a table.

    Args:
        source: at the revision of this version; nothing writes to it meanwhile.
        target: empty, or holding a part of the same copy.
        start_over: empty a target that holds a part of a copy first.
        say: is told what is done.

    Raises:
        BusyError: the source is in use.
        TransferError: the target holds something else, a value cannot be stored there, or both differ in the end; what
            was copied stays.
    """
    migrations.require_head(source)
    try:
        with _held(source) as connection:
            resumed = _begin(target, start_over=start_over)
            digests = {shape.name: _copy_table(connection, target, shape, say) for shape in shapes()}
            with target.write() as writing:
                write_sequences(writing, shapes(), read_sequences(connection, shapes()))
            say("comparing both")
            compared = _compare(connection, target, {} if resumed else digests)
    except OperationalError as error:
        if getattr(error.orig, "sqlstate", None) == "55P03" or "database is locked" in str(error.orig):
            raise BusyError("something writes to the source: stop the system first, and try again") from error
        raise
    _require_same(compared)
    _finish(target)
    return compared


def _begin(target: Database, *, start_over: bool) -> bool:
    """Make the target ready; whether there is a part of a copy in it already.

    Raises:
        TransferError: it holds something else.
    """
    with target.read() as connection:
        present = set(inspect(connection).get_table_names())
        # Shadow tables of the full text belong to their table.
        present = {name for name in present if not name.startswith("adapter_fts")}
        unfinished = _PROGRESS.name in present
        begun_by = (
            connection.execute(select(_PROGRESS.c.after).where(_PROGRESS.c.table_name == "")).scalar()
            if (unfinished)
            else None
        )
    if unfinished and start_over:
        _clear(target)
        present, unfinished = set(), False
    if unfinished:
        if begun_by != migrations.head():
            raise TransferError(
                f"the copy in the target was begun at revision {begun_by}, this version works with "
                f"{migrations.head()}: empty it with --start-over"
            )
        return True
    _require_empty(target, present)
    with target.write() as connection:
        migrations.upgrade_on(connection)
        migrations.stamp_on(connection, migrations.UNFINISHED)
        _METADATA.create_all(connection)
        rows = [{"table_name": shape.name, "after": None, "rows": 0, "done": False} for shape in shapes()]
        whole = {"table_name": "", "after": migrations.head(), "rows": 0, "done": False}
        connection.execute(insert(_PROGRESS), [whole, *rows])
    return False


def _clear(target: Database) -> None:
    with target.write() as connection:
        begun_by = connection.execute(select(_PROGRESS.c.after).where(_PROGRESS.c.table_name == "")).scalar_one()
        migrations.stamp_on(connection, begun_by)
        _METADATA.drop_all(connection)
    migrations.downgrade(target, "base")


def _require_empty(target: Database, present: set[str]) -> None:
    shown = target.engine.url.render_as_string(hide_password=True)
    ours = {shape.name for shape in shapes()} | {"alembic_version", "locks"}
    if strangers := sorted(present - ours):
        raise TransferError(f"{shown} holds tables of something else ({', '.join(strangers[:5])}): name an empty one")
    if "alembic_version" not in present:
        if present:
            raise TransferError(f"{shown} holds tables of unknown origin: name an empty database")
        return
    revision = migrations.revision_of(target)
    if revision is None:
        return
    if revision != migrations.head():
        raise TransferError(f"{shown} is at revision {revision} and not empty: name an empty database")
    if filled := filled_tables(target):
        raise TransferError(f"{shown} holds a library already ({', '.join(filled[:5])}): name an empty database")


def filled_tables(database: Database) -> list[str]:
    """The tables of a database at the newest revision that have rows, but for counters that every database has."""
    with database.read() as connection:
        names = [shape.name for shape in shapes() if shape.name != COUNTERS]
        return [name for name in names if connection.execute(select(1).select_from(table(name)).limit(1)).first()]


def _chunks(rows: Iterator[PortableRow], digest: TableDigest) -> Iterator[list[PortableRow]]:
    chunk: list[PortableRow] = []
    size = 0
    for row in rows:
        size += digest.add(row)
        chunk.append(row)
        if len(chunk) >= CHUNK_ROWS or size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _copy_table(connection: Connection, target: Database, shape: TableShape, say: Say) -> TableDigest:
    """Copy what is not copied yet; the digest of what was."""
    digest = TableDigest(shape)
    with target.read() as reading:
        reached = reading.execute(select(_PROGRESS).where(_PROGRESS.c.table_name == shape.name)).one()
    if reached.done:
        return digest
    after = None if reached.after is None else msgspec.json.decode(reached.after)
    copied = reached.rows
    say(f"{shape.name}" if not copied else f"{shape.name}, behind {copied:,} rows")
    for chunk in _chunks(read_rows(connection, shape, after=after), digest):
        with target.write() as writing:
            if copied == 0:
                prepare(writing, shape)
            write_rows(writing, shape, chunk)
            key = msgspec.json.encode(shape.key_of(chunk[-1])).decode()
            _move(writing, shape.name, copied, {"after": key, "rows": copied + len(chunk)})
        copied += len(chunk)
    with target.write() as writing:
        if copied == 0:
            prepare(writing, shape)
        _move(writing, shape.name, copied, {"done": True})
    return digest


def _move(writing: Connection, name: str, rows: int, values: dict[str, Any]) -> None:
    moved = writing.execute(
        update(_PROGRESS).where(_PROGRESS.c.table_name == name, _PROGRESS.c.rows == rows).values(**values)
    )
    if moved.rowcount != 1:
        raise TransferError("another process copies into the same database: let it end")


def _compare(connection: Connection, target: Database, digests: dict[str, TableDigest]) -> list[Compared]:
    compared = []
    with snapshot(target) as reading:
        for shape in shapes():
            # What was read for the copy need not be read again: the source is locked since.
            ours = digests.get(shape.name) or digest_of(connection, shape)
            theirs = digest_of(reading, shape)
            compared.append(Compared(shape.name, ours.rows, theirs.rows, ours.hexadecimal, theirs.hexadecimal))
    return compared


def _require_same(compared: list[Compared]) -> None:
    different = [
        f"{row.table} ({row.source_rows:,} rows, there {row.target_rows:,})" for row in compared if not row.is_same
    ]
    if different:
        raise TransferError(
            f"the copy differs from its source in {', '.join(different)}: the source was changed between two parts of "
            "the copy, or the target by somebody else. Copy again with --start-over"
        )


def _finish(target: Database) -> None:
    with target.write() as connection:
        _METADATA.drop_all(connection)
        migrations.stamp_on(connection, migrations.head())
    if not target.is_sqlite:
        # Without it the first questions are planned as for empty tables.
        with target.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for shape in shapes():
                connection.execute(text(f'ANALYZE "{shape.name}"'))
