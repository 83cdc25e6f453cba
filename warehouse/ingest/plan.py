"""What a sync would change, found without writing anything anywhere: the dry run.

Belongs here: the listing of differences. Does not: finding them (`staging`), nor showing them.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from sqlalchemy import URL, Connection, inspect

from warehouse.engine import Database, connect
from warehouse.ingest import staging
from warehouse.ingest.roots import choose
from warehouse.ingest.walk import Obstacle, Walk
from warehouse.models import Base, Root
from warehouse.settings import Settings
from warehouse.storage import LibraryRoot

_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class PlannedChange:
    """One difference: `kind` is weight or document; `change` is new, changed, back, rebundled, moved or vanished."""

    kind: str
    change: str
    path: str
    old_path: str | None
    """Where a moved file was."""
    size: int | None
    """Bytes; None for a vanished file."""


@dataclass(frozen=True, slots=True)
class SyncPlan:
    """Everything a sync of these roots would change, and what it could not look at."""

    roots: Sequence[LibraryRoot]
    changes: list[PlannedChange]
    obstacles: list[Obstacle]
    unchanged: int

    @property
    def counts(self) -> dict[str, int]:
        """How many differences there are, by change."""
        return dict(Counter(change.change for change in self.changes))


def plan_sync(database: Database, settings: Settings, roots: Sequence[LibraryRoot] | None = None) -> SyncPlan:
    """Compare the folders with the rows, and write nothing: no file, no row, not even the database itself.

    Raises:
        LibraryError: as `scan_library` does.
    """
    with _rows(database) as known:
        chosen = choose(known, settings, roots)
        walk = Walk(chosen.walkable, frozenset({str(settings.data_dir)}), settings.library_access)
        with known.session() as session:
            staging.stage(session, walk)
            with session.temporary() as connection:
                changes = list(_changes(connection))
                found = staging.found_counts(connection)
    seen = sum(count for kind, count in found.items() if kind != "preview")
    differing = sum(1 for change in changes if change.change != staging.Change.VANISHED)
    return SyncPlan(
        roots=chosen.walkable,
        changes=changes,
        obstacles=[*chosen.obstacles, *walk.obstacles],
        unchanged=seen - differing,
    )


def _changes(connection: Connection) -> Iterator[PlannedChange]:
    last = 0
    while rows := staging.changes_after(connection, last, _PAGE):
        last = rows[-1].seq
        for row in rows:
            old_path = row.old_path if row.change == staging.Change.MOVED else None
            yield PlannedChange(row.kind, row.change, row.path, old_path, row.size)


@contextmanager
def _rows(database: Database) -> Iterator[Database]:
    """The rows to compare with, not to be written; where there is no database yet, an empty one in memory."""
    file = database.engine.url.database
    if not database.is_sqlite or not file:
        known = database
    elif Path(file).exists():
        # Not even a checkpoint: what earlier writers left in the log stays there.
        mode = {"mode": "ro"} if Path(f"{file}-wal").exists() else {"immutable": "1"}
        uri = f"file:{quote(str(Path(file).absolute()))}"
        known = connect(URL.create("sqlite", database=uri, query={**mode, "uri": "true"}), pool_size=1)
    else:
        known = _empty()
    try:
        with known.read() as connection:
            has_tables = inspect(connection).has_table(Root.__tablename__)
        yield known if has_tables else _empty()
    finally:
        if known is not database:
            known.dispose()


def _empty() -> Database:
    empty = connect("sqlite://", pool_size=1)
    with empty.write() as connection:
        Base.metadata.create_all(connection)
    return empty
