"""The database: one engine per process for SQLite or PostgreSQL, and the two scopes in which it is used.

`Database.read()` and `Database.write()` are the only ways to a connection. A write on SQLite begins with BEGIN
IMMEDIATE: a deferred transaction that turns into a write under load fails at once instead of waiting its turn.
Statements do not belong here.
"""

import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import msgspec
from sqlalchemy import Connection, Engine, Row, create_engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError

from warehouse.settings import Settings

WAIT_SECONDS = 60.0
"""How long a SQLite writer waits for another, and whoever wants a connection for one of the pool; a sync commits per
chunk, far sooner than this."""
_POSTGRESQL_CONNECTIONS: dict[str, Any] = {
    "connect_timeout": 5,
    # Seconds. A server whose machine or network is gone says nothing, and the system would wait for it for hours.
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
    # Whatever the database's own is: rows are texts of any language, and bytes to nobody.
    "client_encoding": "utf8",
}
"""Of libpq, for each address of the server. What the URL says itself stays."""

AnyRow = Row[*tuple[Any, ...]]
"""A row of any columns, read by their names."""

_WRITE = "warehouse_write"
_ATTEMPTS = 5
_LOST = frozenset({"40001", "40P01"})
"""PostgreSQL's states of a transaction that lost against another (serialisation, deadlock) and may be done again."""

Result = TypeVar("Result")


def _dump_json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


class Waits:
    """How often and how long the process waited for a connection: for one of the pool, or for a new one to open."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._count = 0
        self._seconds = 0.0

    def add(self, seconds: float) -> None:
        """Count one wait."""
        with self._lock:
            self._count += 1
            self._seconds += seconds

    def total(self) -> tuple[int, float]:
        """(waits, seconds in all)."""
        with self._lock:
            return self._count, self._seconds


@dataclass(frozen=True, slots=True)
class Database:
    """An engine and its transaction scopes."""

    engine: Engine
    waits: Waits = field(default_factory=Waits, compare=False)

    def _connect(self) -> Connection:
        began = time.perf_counter()
        connection = self.engine.connect()
        self.waits.add(time.perf_counter() - began)
        return connection

    @property
    def is_sqlite(self) -> bool:
        """Whether statements of SQLite's own are understood; everything else is PostgreSQL."""
        return self.engine.dialect.name == "sqlite"

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection on one consistent snapshot; nothing written in it is kept."""
        with self._connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that commits at the end of the block and rolls back on any exception."""
        with self._connect().execution_options(**{_WRITE: True}) as connection, connection.begin():
            yield connection

    def transact(self, work: Callable[[Connection], Result]) -> Result:
        """Do work in a transaction of its own; if it loses a deadlock it is done again, from the start.

        For short work of requests, which meet each other on the same rows; `work` must have no other effect.
        """
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                with self.write() as connection:
                    return work(connection)
            except DBAPIError as error:
                if attempt == _ATTEMPTS or getattr(error.orig, "sqlstate", None) not in _LOST:
                    raise
            # Apart in time, so that the same two do not meet again.
            time.sleep(random.uniform(0, 0.02 * 2**attempt))  # noqa: S311 - no secret
        raise AssertionError("unreachable")

    @contextmanager
    def session(self) -> Iterator["Session"]:
        """One connection for several transactions, for work that keeps temporary tables between them."""
        with self._connect() as connection:
            try:
                yield Session(connection)
            finally:
                # Temporary tables live as long as the connection, so it does not go back to the pool.
                connection.rollback()
                connection.invalidate()

    def dispose(self) -> None:
        """Close the pooled connections."""
        self.engine.dispose()


def violated_constraint(error: IntegrityError) -> str | None:
    """The name of the constraint or unique index that a statement violated; None on SQLite, which does not tell."""
    name: str | None = getattr(getattr(error.orig, "diag", None), "constraint_name", None)
    return name


@dataclass(frozen=True, slots=True)
class Session:
    """A connection that several transactions follow each other on."""

    connection: Connection

    @contextmanager
    def temporary(self) -> Iterator[Connection]:
        """A transaction that writes temporary tables alone; it takes no lock on the database."""
        with self.connection.begin():
            yield self.connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that commits at the end of the block and rolls back on any exception."""
        self.connection.execution_options(**{_WRITE: True})
        try:
            with self.connection.begin():
                yield self.connection
        finally:
            self.connection.execution_options(**{_WRITE: False})


def _configure_sqlite(engine: Engine, wait_seconds: float) -> None:
    @event.listens_for(engine, "connect")
    def _connect(connection: sqlite3.Connection, _record: object) -> None:
        # The driver's own transaction handling is off: `begin` below decides how each transaction starts.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (
            # Of a new file only: rows are a few KB wide, and twice the default saves a tenth of the time to write them.
            "page_size=8192",
            "journal_mode=WAL",
            "synchronous=NORMAL",
            f"busy_timeout={round(wait_seconds * 1000)}",
            "foreign_keys=ON",
            # Of each connection, in KiB: a chunk of a sync fits. What is read again comes from the system's own cache.
            "cache_size=-16384",
            # In pages. What a commit of a sync changes waits for it in memory, for pages that do not are written twice;
            # beyond 47 MB a transaction is none of these. (SQLite takes a multiple of 256 for "off".)
            "cache_spill=6000",
            # A sync commits megabytes at a time: a checkpoint (which waits for the disk) per 32 MB is enough.
            "wal_autocheckpoint=4096",
            # Temporary tables hold a whole library while it is compared: on disk, not in memory.
            "temp_store=FILE",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        write = connection.get_execution_options().get(_WRITE, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if write else "BEGIN")


def connect(url: str | URL, *, pool_size: int = 16, wait_seconds: float = WAIT_SECONDS) -> Database:
    """A database for a SQLAlchemy URL. The parent folder of a SQLite file is created; the tables are not.

    Args:
        pool_size: connections that are kept open.
        wait_seconds: how long to wait for SQLite's lock, or for a connection of the pool, before it is an error
            (`availability`).

    Raises:
        ArgumentError: it is no URL, or one of another database.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() not in ("sqlite", "postgresql"):
        raise ArgumentError(f"{parsed.get_backend_name()} is neither sqlite nor postgresql")
    options: dict[str, Any] = {
        "json_serializer": _dump_json,
        "json_deserializer": msgspec.json.decode,
        "pool_size": pool_size,
    }
    if parsed.get_backend_name() != "sqlite" or parsed.database not in (None, "", ":memory:"):
        # A database in memory has a connection for each thread, which nobody else can hold.
        options["pool_timeout"] = wait_seconds
    if parsed.get_backend_name() == "sqlite":
        # A URI (`file:…?mode=ro`) is for reading what is there: its folder is none to make.
        if parsed.database and parsed.database != ":memory:" and not parsed.database.startswith("file:"):
            Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
        if "pool_timeout" in options:
            # The one that was used last: its cache of pages is warm, and those of the others need not be filled.
            options["pool_use_lifo"] = True
        engine = create_engine(parsed, **options, connect_args={"check_same_thread": False})
        _configure_sqlite(engine, wait_seconds)
    else:
        limits = {name: value for name, value in _POSTGRESQL_CONNECTIONS.items() if name not in parsed.query}
        engine = create_engine(parsed, **options, connect_args=limits, pool_pre_ping=True, pool_use_lifo=True)
    return Database(engine)


def open_database(settings: Settings, *, wait_seconds: float = WAIT_SECONDS) -> Database:
    """The database that the settings name."""
    return connect(settings.url, wait_seconds=wait_seconds)
