"""A backup into an empty place, or in the place of what is there, which is kept aside.

Nothing is touched before every byte of the backup was compared. Then all of it is made beside what is there: the files
and a SQLite database in a folder aside, the tables of PostgreSQL in one transaction; and put in place in the end, in
renames. Publications are not in a backup: the next run of the pipeline makes them again, of vectors that are.
"""

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, delete, func, inspect, select, table, text, update
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DatabaseError, DBAPIError, OperationalError

from warehouse import migrations
from warehouse.backup import BackupError, reason
from warehouse.backup.archive import Checked, check, members
from warehouse.backup.contents import ASIDE, BACKUP_NAME, STAGING
from warehouse.engine import Database, connect
from warehouse.folders import held
from warehouse.models import Base, Generation, Job, Pointer, utc_now
from warehouse.settings import Settings
from warehouse.transfer.copying import workers
from warehouse.transfer.digests import digest_of
from warehouse.transfer.sequences import write_sequences
from warehouse.transfer.shapes import COUNTERS, TableShape
from warehouse.transfer.writing import prepare, write_rows
from warehouse.vectors.encoders.weights import TUNED

_STAYS = frozenset({"models", "logs"})
"""Folders that a restored system goes on with: nothing of any state is in them."""
_OURS = frozenset({*Base.metadata.tables, "alembic_version", "database_copy"})

Say = Callable[[str], None]
Begin = Callable[[], AbstractContextManager[Connection]]
"""Begins a transaction, or goes on with the one there is."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What was restored."""

    rows: int
    files: int
    from_revision: str
    unfinished_jobs: int
    """Deliveries and generations that the backup found waiting or running; they are done when the system starts."""
    aside: tuple[str, ...]
    """Where what was there before is now."""


def restore_backup(settings: Settings, path: Path, *, replace: bool = False, say: Say = lambda _: None) -> Restored:
    """Restore a backup into the data folder and the database of the settings.

    Args:
        replace: what is there is kept aside; without, a place that is not empty is refused.
        say: is told what is done.

    Raises:
        BackupError: the backup is not whole, or of a later version; the place is not empty or in use; or it cannot be
            written. What was there before is as it was.
    """
    say("checking the backup")
    checked = check(path)
    if not migrations.is_known(checked.head.revision):
        raise BackupError(
            f"{path} was made by version {checked.head.version} with the schema {checked.head.revision}, which this "
            "version does not know: install that version, or a later one"
        )
    stamp = f"{utc_now():%Y%m%dT%H%M%SZ}"
    place = _Place(settings, path.resolve(), stamp)
    try:
        with ExitStack() as stack:
            if not stack.enter_context(held(place.folder, alone=True)):
                raise BackupError(
                    f"an API, `lora-manager up` or another restoration works on {place.folder}: stop it first"
                )
            _require_free(place, replace=replace)
            _remove_leftovers(place)
            stack.enter_context(place.staged())
            say("restoring the files")
            _extract(checked, place.staging)
            if place.sqlite_file is not None:
                return _into_sqlite(checked, place, say)
            return _into_postgresql(checked, place, say)
    except (OSError, DBAPIError, sqlite3.OperationalError) as error:
        said = reason(error) if isinstance(error, OSError) else str(getattr(error, "orig", error))
        if not isinstance(error, OSError) and "full" not in said and "disk I/O" not in said:
            raise
        raise BackupError(
            f"{path} was not restored: {said}. What was there before is as it was; free disk space or permissions, and "
            "try again"
        ) from error


@dataclass(frozen=True, slots=True)
class Remains:
    """What restorations have left in a data folder, and beside a database that lies elsewhere."""

    aside: tuple[Path, ...]
    """What was there before, the oldest first."""
    unfinished: tuple[Path, ...]
    """What one had made that is under way, or was killed; the next one removes it."""
    is_torn: bool
    """Whether one was killed while it put things in place, so that what is aside may be there alone; on PostgreSQL,
    whose tables come with a commit that no file tells of, also right after."""


def remains(settings: Settings) -> Remains:
    """Look for what restorations have left."""
    place = _Place(settings, settings.data_dir, "")
    file = place.sqlite_file
    aside, unfinished = _named(place, ASIDE), _named(place, STAGING)
    if file is None:
        stamps = {path.name.removeprefix(STAGING) for path in unfinished}
        is_torn = any(path.name.removeprefix(ASIDE) in stamps for path in aside)
    else:
        # The database goes first and comes last.
        is_torn = bool(aside) and not file.exists()
    return Remains(tuple(aside), tuple(unfinished), is_torn)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a backup is restored to."""

    settings: Settings
    backup: Path
    stamp: str

    @property
    def folder(self) -> Path:
        return self.settings.data_dir

    @property
    def staging(self) -> Path:
        return self.folder / f"{STAGING}{self.stamp}"

    @property
    def aside(self) -> Path:
        """In the folder itself, which may be a volume that nothing can be renamed out of."""
        return self.folder / f"{ASIDE}{self.stamp}"

    @property
    def schema(self) -> str:
        """Of PostgreSQL, for the tables that were there."""
        return f"before_restore_{self.stamp.lower()}"

    @property
    def sqlite_file(self) -> Path | None:
        url = make_url(self.settings.url)
        return Path(url.database or "").absolute() if url.get_backend_name() == "sqlite" else None

    @property
    def database_files(self) -> list[Path]:
        file = self.sqlite_file
        return [] if file is None else [file.with_name(f"{file.name}{end}") for end in ("", "-wal", "-shm", "-journal")]

    def entries(self) -> list[Path]:
        """What of the folder has to give way, the database not among it."""
        database = set(self.database_files)
        stay = {self.backup} if self.settings.backup_dir is None else {self.backup, self.settings.backup_dir}
        # A folder that backups lie in stays, too.
        stay |= {parent for path in stay for parent in path.parents}
        return [
            path
            for path in (sorted(self.folder.iterdir()) if self.folder.is_dir() else ())
            if path not in database
            and path.resolve() not in stay
            and path.name not in _STAYS
            and not path.name.startswith((STAGING, ASIDE))
            and not BACKUP_NAME.fullmatch(path.name)
        ]

    @contextmanager
    def staged(self) -> Iterator[None]:
        """The folder aside, for the block."""
        self.staging.mkdir(parents=True)
        try:
            yield
        finally:
            shutil.rmtree(self.staging, ignore_errors=True)


def _require_free(place: _Place, *, replace: bool) -> None:
    taken = [path.name for path in place.entries()]
    file = place.sqlite_file
    if file is None or file.exists():
        database = connect(place.settings.url, wait_seconds=5)
        try:
            taken += _rows_in(database)
        except DatabaseError as error:
            # What is damaged is what backups are for; it is kept aside, as every other.
            if file is None or isinstance(error, OperationalError):
                raise
            taken.insert(0, f"{file.name}, which is damaged")
        finally:
            database.dispose()
    if taken and not replace:
        raise BackupError(
            f"{place.folder} and its database are not empty ({', '.join(taken[:5])}): name an empty folder with "
            "--data, or keep what is there aside with --replace"
        )


def _named(place: _Place, prefix: str) -> list[Path]:
    """What restorations have named so, in the data folder and beside a database that lies elsewhere."""
    found = set(place.folder.glob(f"{prefix}*"))
    if (file := place.sqlite_file) is not None:
        found.update(file.parent.glob(f"{prefix}*-{file.name}*"))
    return sorted(found)


def _remove_leftovers(place: _Place) -> None:
    """What a restoration that was killed had made aside."""
    for path in _named(place, STAGING):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def _rows_in(database: Database) -> list[str]:
    """Tables of ours that hold rows.

    Raises:
        BackupError: somebody works on them.
    """
    with database.read() as connection:
        present = sorted(set(inspect(connection).get_table_names()) & (_OURS - {"alembic_version", COUNTERS, "locks"}))
        if {"locks", "lanes"} <= set(inspect(connection).get_table_names()) and (busy := workers(connection)):
            raise BackupError(f"the database is in use: {', '.join(busy)}. Stop the system first")
        return [name for name in present if connection.execute(select(1).select_from(table(name)).limit(1)).first()]


def _extract(checked: Checked, folder: Path) -> None:
    for member in members(checked.path):
        relative = member.file
        if relative is None:
            continue
        target = folder / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            for block in member.blocks():
                stream.write(block)
            stream.flush()
            os.fsync(stream.fileno())
        if member.digest() != checked.manifest.members.get(member.name):
            raise BackupError(f"{checked.path} was changed while it was read")


def _load(checked: Checked, begin: Begin, say: Say) -> None:
    """Tables of the backup's revision, with its rows; compared, and brought to the revision of this version."""
    shapes = {shape.name: shape for shape in checked.head.shapes}
    with begin() as connection:
        migrations.upgrade_on(connection, checked.head.revision)
    said = ""
    for member in members(checked.path):
        name = member.table
        if name is None:
            continue
        if name != said:
            say(f"restoring {name}")
            said = name
            with begin() as connection:
                prepare(connection, shapes[name])
        with begin() as connection:
            write_rows(connection, shapes[name], member.rows())
    say("comparing with the backup")
    with begin() as connection:
        write_sequences(connection, checked.head.shapes, checked.manifest.sequences)
        _require_same(checked, connection, checked.head.shapes)
        _finish(checked, connection, say)


def _finish(checked: Checked, connection: Connection, say: Say) -> None:
    if checked.head.revision != migrations.head():
        say(f"migrating from {checked.head.revision} to {migrations.head()}")
        migrations.upgrade_on(connection)
    # Their files are not there, but those of the encoder in use; the pipeline publishes the others anew.
    connection.execute(delete(Pointer).where(Pointer.kind != TUNED))
    in_use = select(Pointer.generation_pk)
    gone = Generation.collected_at.is_(None) & Generation.pk.not_in(in_use)
    connection.execute(update(Generation).where(gone).values(collected_at=utc_now()))


def _require_same(checked: Checked, connection: Connection, shapes: tuple[TableShape, ...]) -> None:
    for shape in shapes:
        digest = digest_of(connection, shape)
        if checked.manifest.tables[shape.name] != [digest.rows, digest.hexadecimal]:
            raise BackupError(f"the restored table {shape.name} is not what the backup holds: nothing was put in place")


def _restored(checked: Checked, connection: Connection, aside: list[str]) -> Restored:
    unfinished = connection.execute(select(func.count()).select_from(Job).where(Job.finished_at.is_(None))).scalar_one()
    return Restored(checked.manifest.rows, checked.manifest.files, checked.head.revision, unfinished, tuple(aside))


class _Renames:
    """Renames that are taken back together."""

    def __init__(self) -> None:
        self._done: list[tuple[Path, Path]] = []

    def rename(self, path: Path, to: Path) -> None:
        path.rename(to)
        self._done.append((path, to))

    @contextmanager
    def or_none(self) -> Iterator[None]:
        """On any exception of the block everything has its old name again."""
        try:
            yield
        except BaseException:
            while self._done:
                path, to = self._done.pop()
                to.rename(path)
            raise


def _into_sqlite(checked: Checked, place: _Place, say: Say) -> Restored:
    final = place.sqlite_file
    assert final is not None
    final.parent.mkdir(parents=True, exist_ok=True)
    # Beside the file that it becomes, which may lie on another disk than the data folder.
    made = final.with_name(f"{STAGING}{place.stamp}-{final.name}")
    try:
        database = connect(URL.create("sqlite", database=str(made)))
        try:
            _load(checked, database.write, say)
            with database.read() as connection:
                aside = [str(place.aside)] if place.entries() or final.exists() else []
                restored = _restored(checked, connection, aside)
            with database.engine.connect() as connection:
                connection.commit()
                connection.connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            database.dispose()
        _sync(made)
        say("putting it in place")
        renames = _Renames()
        with renames.or_none():
            # The database goes first and comes last: what a crash leaves between is no library, never half of two.
            _move_away(place, renames, [path for path in place.database_files if path.exists()])
            _move_away(place, renames, place.entries())
            _move_in(place, renames)
            renames.rename(made, final)
        _sync(final.parent)
        return restored
    finally:
        for end in ("", "-wal", "-shm", "-journal"):
            with suppress(FileNotFoundError):
                made.with_name(f"{made.name}{end}").unlink()


def _into_postgresql(checked: Checked, place: _Place, say: Say) -> Restored:
    database = connect(place.settings.url)
    renames = _Renames()
    try:
        is_empty = not _rows_in(database)
        with renames.or_none(), database.write() as connection:
            aside = _clear_schema(connection, place.schema)
            if aside and is_empty:
                connection.execute(text(f'DROP SCHEMA "{place.schema}" CASCADE'))
                aside = []
            _load(checked, lambda: nullcontext(connection), say)
            if place.entries():
                aside.append(str(place.aside))
            restored = _restored(checked, connection, aside)
            say("putting it in place")
            _move_away(place, renames, place.entries())
            _move_in(place, renames)
        with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            for name in Base.metadata.tables:
                connection.execute(text(f'ANALYZE "{name}"'))
        return restored
    finally:
        database.dispose()


def _clear_schema(connection: Connection, aside: str) -> list[str]:
    """Our tables out of the way, with what belongs to them; the name of the schema they are in now."""
    ours = [name for name in inspect(connection).get_table_names() if name in _OURS]
    if not ours:
        return []
    functions = connection.execute(
        text(
            "SELECT DISTINCT t.tgfoid::regprocedure::text FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid "
            "JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_proc p ON p.oid = t.tgfoid "
            "WHERE NOT t.tgisinternal AND n.nspname = current_schema() AND p.pronamespace = n.oid "
            "AND c.relname = ANY(:ours)"
        ),
        {"ours": ours},
    ).scalars()
    connection.execute(text(f'CREATE SCHEMA "{aside}"'))
    for function in list(functions):
        connection.execute(text(f'ALTER FUNCTION {function} SET SCHEMA "{aside}"'))
    for name in ours:
        connection.execute(text(f'ALTER TABLE "{name}" SET SCHEMA "{aside}"'))
    return [f"the schema {aside}"]


def _move_away(place: _Place, renames: _Renames, entries: list[Path]) -> None:
    for path in entries:
        place.aside.mkdir(exist_ok=True)
        # A database elsewhere stays on its disk.
        elsewhere = path.with_name(f"{ASIDE}{place.stamp}-{path.name}")
        renames.rename(path, place.aside / path.name if path.parent == place.folder else elsewhere)


def _move_in(place: _Place, renames: _Renames) -> None:
    for path in sorted(place.staging.iterdir()):
        target = place.folder / path.name
        if target.exists():
            # It stayed: a folder that the backups lie in.
            shutil.copytree(path, target, dirs_exist_ok=True) if path.is_dir() else shutil.copy2(path, target)
        else:
            renames.rename(path, target)
    _sync(place.folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
