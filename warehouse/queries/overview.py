"""The state of the whole library in figures, for a person who asks once.

Counts here may read an index from end to end; what a request of the API needs stands in counters (`facets`).
"""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, func, select
from sqlalchemy.orm import InstrumentedAttribute

from warehouse import facets
from warehouse.engine import Database
from warehouse.models import Activity, Adapter, Document, Embedding, File, Finding, Generation, Lock, Pointer, Root
from warehouse.storage import LibraryRoot, root_at


@dataclass(frozen=True, slots=True)
class RootState:
    """A library root and when it was last scanned to the end."""

    path: str
    scanned_at: datetime | None


@dataclass(frozen=True, slots=True)
class PublishedState:
    """The current generation of a kind."""

    kind: str
    name: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class LockState:
    """Exclusive work that is going on, or was when its holder died."""

    name: str
    holder: str
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Overview:
    """What the database holds. Keys of the dictionaries are the states, verdicts, spaces and severities themselves."""

    roots: list[RootState]
    adapters: int
    adapters_by_file_state: dict[str, int]
    files_by_state: dict[str, int]
    files_unhashed: int
    documents_by_verdict: dict[str, int]
    quarantined_by_reason: dict[str, int]
    embeddings_by_space: dict[str, int]
    findings_by_severity: dict[str, int]
    published: list[PublishedState]
    locks: list[LockState]
    last_activity: datetime | None


def registered_roots(database: Database) -> list[LibraryRoot]:
    """The library folders that syncs read, as they were registered, oldest first."""
    with database.read() as connection:
        return [root_at(path) for path in connection.execute(select(Root.path).order_by(Root.pk)).scalars()]


def adapter_count(database: Database) -> int:
    """How many adapters there are."""
    with database.read() as connection:
        return facets.count_of(connection)


def _counts(
    connection: Connection, key: InstrumentedAttribute[str] | InstrumentedAttribute[str | None], absent: str
) -> dict[str, int]:
    statement = select(key, func.count()).group_by(key)
    counted = {value if value is not None else absent: count for value, count in connection.execute(statement)}
    return dict(sorted(counted.items(), key=lambda item: (-item[1], item[0])))


def overview(database: Database) -> Overview:
    """The figures, all of one snapshot."""
    with database.read() as connection:
        roots = connection.execute(select(Root.path, Root.scanned_at).order_by(Root.pk)).all()
        unhashed = select(func.count()).select_from(File).where(File.state == "present", File.hashed_mtime_ns.is_(None))
        quarantined = (
            select(Document.reason_code, func.count())
            .where(Document.verdict == "quarantined")
            .group_by(Document.reason_code)
        )
        published = (
            select(Pointer.kind, Generation.name, Generation.created_at)
            .join(Generation, Generation.pk == Pointer.generation_pk)
            .order_by(Pointer.kind)
        )
        locks = select(Lock.name, Lock.holder, Lock.expires_at).order_by(Lock.name)
        return Overview(
            roots=[RootState(path, scanned_at) for path, scanned_at in roots],
            adapters=facets.count_of(connection),
            adapters_by_file_state=_counts(connection, Adapter.file_state, "unknown"),
            files_by_state=_counts(connection, File.state, "unknown"),
            files_unhashed=connection.execute(unhashed).scalar_one(),
            documents_by_verdict=_counts(connection, Document.verdict, "unread"),
            quarantined_by_reason={code or "unknown": count for code, count in connection.execute(quarantined)},
            embeddings_by_space=_counts(connection, Embedding.embedding_type, "unknown"),
            findings_by_severity=_counts(connection, Finding.severity, "unknown"),
            published=[PublishedState(*row) for row in connection.execute(published)],
            locks=[LockState(*row) for row in connection.execute(locks)],
            last_activity=connection.execute(select(func.max(Activity.at))).scalar(),
        )
