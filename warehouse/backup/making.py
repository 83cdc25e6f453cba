"""Making a backup while everything runs: one moment of the database, then the files that its rows need.

Pictures and parameters are written before the rows that name them and stay an hour after nobody does, so files that are
read after the rows are never too few.
"""

import io
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import IO

from sqlalchemy import select

from warehouse import migrations
from warehouse.backup import BackupError, reason
from warehouse.backup.archive import ArchiveWriter, Head, check
from warehouse.backup.contents import SAMPLE, kept_files
from warehouse.engine import Database
from warehouse.models import Generation, Pointer, Root, utc_now
from warehouse.settings import Settings
from warehouse.transfer.reading import read_rows, snapshot
from warehouse.transfer.sequences import read_sequences
from warehouse.transfer.shapes import shapes
from warehouse.vectors.encoders.weights import TUNED

DAGSTER = "dagster/storage"
_SMALL = 8 * 2**20
"""Bytes of a file that is read at once, so that it is of one moment."""

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Made:
    """A backup that was made."""

    path: Path
    size: int
    rows: int
    files: int


def backup_name() -> str:
    """A name of this second."""
    return f"lora-manager-{utc_now():%Y%m%dT%H%M%SZ}.tar"


def make_backup(
    database: Database,
    settings: Settings,
    path: Path,
    *,
    verify: bool = True,
    with_dagster: bool = False,
    say: Say = lambda _: None,
) -> Made:
    """Write a backup; the file is there when all of it is on disk, and not before.

    Args:
        path: the file, or a folder in which it gets a name by its time.
        verify: read all of it again and compare.
        with_dagster: also the history of runs, where Dagster keeps it in the data folder.

    Raises:
        BackupError: it cannot be written, or `path` is there already; nothing is left of it.
        SchemaError: the database is of another version.
    """
    migrations.require_head(database)
    final = path / backup_name() if path.is_dir() else path
    if final.exists():
        raise _taken(final)
    aside = final.with_name(f".{final.name}.{os.getpid()}")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        # It holds secrets.
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            writer = _write(database, settings, stream, [final, aside], with_dagster=with_dagster, say=say)
            stream.flush()
            os.fsync(stream.fileno())
        if verify:
            say("reading it again")
            check(aside)
        _name(aside, final)
        _sync_folder(final.parent)
    except BaseException as error:
        with suppress(OSError):
            aside.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise BackupError(
                f"the backup {final} was not written: {reason(error)}. Nothing of it is left; free disk space "
                "or permissions, or name another place"
            ) from error
        raise
    return Made(final, final.stat().st_size, writer.manifest.rows, writer.manifest.files)


def _taken(final: Path) -> BackupError:
    return BackupError(f"{final} is there already: name another file")


def _name(aside: Path, final: Path) -> None:
    """Give a file its name, unless another one got it meanwhile."""
    try:
        # A second name fails where there is one; a rename would take the place of another backup.
        os.link(aside, final)
    except FileExistsError:
        raise _taken(final) from None
    except OSError:
        # A file system without links.
        aside.rename(final)
    else:
        aside.unlink()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write(
    database: Database, settings: Settings, stream: IO[bytes], own: list[Path], *, with_dagster: bool, say: Say
) -> ArchiveWriter:
    with snapshot(database) as connection:
        dialect = database.engine.dialect.name
        made_by = version("lora-manager-backend")
        head = Head(made_by, migrations.head(), dialect, utc_now().isoformat(), shapes())
        writer = ArchiveWriter(stream, head)
        for position, shape in enumerate(shapes()):
            say(shape.name)
            writer.add_table(position, shape, read_rows(connection, shape))
        writer.manifest.sequences = read_sequences(connection, shapes())
        roots = [Path(found) for found in connection.execute(select(Root.path)).scalars()]
        # Its vectors are in the tables, and tuning anew would make another one.
        encoder = select(Generation.name).join(Pointer, Pointer.generation_pk == Generation.pk)
        names = connection.execute(encoder.where(Pointer.kind == TUNED)).scalars()
        encoders = [settings.generations_dir / TUNED / name for name in names]
    say("files")
    for name, found in _files(settings, roots, own, encoders):
        _add_file(writer, name, found)
    if with_dagster:
        say("Dagster's history")
        _add_dagster(writer, settings)
    writer.close()
    return writer


def _files(settings: Settings, roots: list[Path], own: list[Path], encoders: list[Path]) -> Iterator[tuple[str, Path]]:
    """Libraries below the data folder are the user's and have the user's own copies, but for our sample of one."""
    folders = [root for root in (*roots, *settings.library_roots) if isinstance(root, Path)]
    libraries = [root for root in folders if root != settings.data_dir / SAMPLE]
    folder = [] if settings.backup_dir is None else [settings.backup_dir]
    for kept in kept_files(settings.data_dir, without=[*own, *libraries, *folder], derived=encoders):
        yield kept.name, kept.path


def _add_file(writer: ArchiveWriter, name: str, path: Path) -> None:
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            if size > _SMALL:
                writer.add_file(name, stream, size)
                return
            data = stream.read()
    except FileNotFoundError:
        # Deleted since the folder was listed: nobody needs it.
        return
    writer.add_file(name, io.BytesIO(data), len(data))


def _add_dagster(writer: ArchiveWriter, settings: Settings) -> None:
    if not settings.url.startswith("sqlite"):
        raise BackupError(
            "Dagster keeps its history in PostgreSQL, in the schema `dagster`: save it with `pg_dump -n dagster`"
        )
    storage = settings.data_dir / DAGSTER
    for path in sorted(storage.rglob("*.db")):
        with tempfile.TemporaryDirectory(prefix="lora-manager-") as folder:
            copied = Path(folder) / "copy.db"
            with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(copied)) as target:
                source.backup(target)
            _add_file(writer, path.relative_to(settings.data_dir).as_posix(), copied)
