"""The DuckDB file of a generation: nothing but views over its Parquet files, with the comments that explain them.

A view holds absolute paths, so the file is made after the folder has its final name, and made anew when the data
folder has moved. Everything it says is read from the Parquet files themselves; a generation of older code keeps its
own columns. Does not belong here: running other people's queries (`query`).
"""

import contextlib
import logging
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from warehouse.engine import Database
from warehouse.generations import Published, readable
from warehouse.ids import new_id
from warehouse.marts.errors import MartError, NothingPublishedError
from warehouse.marts.parquet import READ_ONLY
from warehouse.models import Generation
from warehouse.settings import Settings

if TYPE_CHECKING:
    import duckdb

KIND = "marts/analytics"
CATALOG = "catalog.duckdb"
STORAGE_VERSION = "v1.0.0"
"""Format of the file, so that DuckDB clients from 1.0 on open it."""

_log = logging.getLogger(__name__)

_GLOB = re.compile(r"([*?\[])")


def quoted(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def identifier(name: str) -> str:
    """A SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def current_link(settings: Settings) -> Path:
    """The stable path for people: a symbolic link to the folder of the current generation.

    A link and not a copy, because one rename moves the catalog and all Parquet files at once, for every tool, while
    whoever has the files before it open keeps reading them.
    """
    return settings.data_dir / "analytics" / "current"


def require_current(database: Database, settings: Settings) -> Published:
    """The generation that the pointer names, or an older one while its files are on their way from a store.

    Raises:
        NothingPublishedError: there is none yet, or its files are not here and cannot be got from the store.
    """
    try:
        published = readable(database, settings, KIND)
    except OSError as error:
        _log.warning("the published marts cannot be got from their store: %s", error)
        raise NothingPublishedError("the published marts cannot be got from their store now; ask later") from error
    if published is None:
        raise NothingPublishedError("no marts are published yet: run `lora-manager sync` first")
    return published


def mart_files(folder: Path, name: str) -> list[Path]:
    """The Parquet files of a mart of a generation, days in their order."""
    whole = folder / f"{name}.parquet"
    return [whole] if whole.exists() else sorted((folder / name).glob("*/*.parquet"))


def as_pattern(folder: Path) -> str:
    """A folder in a pattern of DuckDB, where its own *, ? and [ stand for themselves."""
    return _GLOB.sub(r"[\1]", str(folder))


def scan(folder: Path, name: str) -> str:
    """The table function call that reads a mart of a generation."""
    prefix = as_pattern(folder)
    whole = folder / f"{name}.parquet"
    if whole.exists():
        return f"read_parquet({quoted(f'{prefix}/{name}.parquet')}, hive_partitioning = false)"
    key = mart_files(folder, name)[0].parent.name.partition("=")[0]
    pattern = quoted(f"{prefix}/{name}/*/*.parquet")
    return f"read_parquet({pattern}, hive_partitioning = true, hive_types = {{{identifier(key)}: DATE}})"


def _view_statements(folder: Path, name: str) -> Iterator[str]:
    import pyarrow.parquet as pq

    schema = pq.read_schema(mart_files(folder, name)[0])
    view = f"catalog.main.{identifier(name)}"
    columns = ", ".join(identifier(field.name) for field in schema)
    yield f"CREATE VIEW {view} AS SELECT {columns} FROM {scan(folder, name)}"  # noqa: S608 - quoted identifiers
    about = schema.metadata
    description, grain = about[b"description"].decode(), about[b"grain"].decode()
    yield f"COMMENT ON VIEW {view} IS {quoted(f'{description} One row per {grain}.')}"
    for field in schema:
        comment = quoted(field.metadata[b"description"].decode())
        yield f"COMMENT ON COLUMN {view}.{identifier(field.name)} IS {comment}"


def create(folder: Path, manifest: Mapping[str, Any]) -> None:
    """Make the catalog of a generation that has its final place, replacing one that is there.

    Raises:
        MartError: DuckDB cannot write the file, or a view does not give the rows that were published.
    """
    import duckdb

    building = folder / f".{CATALOG}-{new_id()[-8:]}"
    try:
        with duckdb.connect(config={"threads": 1}) as connection:
            connection.execute(f"ATTACH {quoted(str(building))} AS catalog (STORAGE_VERSION {quoted(STORAGE_VERSION)})")
            connection.execute("BEGIN")
            for name in manifest["marts"]:
                for statement in _view_statements(folder, name):
                    connection.execute(statement)
            connection.execute("COMMIT")
            connection.execute("DETACH catalog")
        _verify(building, manifest)
        building.chmod(READ_ONLY)
        building.replace(folder / CATALOG)
    except duckdb.Error as error:
        raise MartError(f"the catalog in {folder} could not be made: {error}") from error
    finally:
        building.unlink(missing_ok=True)


def _verify(path: Path, manifest: Mapping[str, Any]) -> None:
    import duckdb

    with duckdb.connect(str(path), read_only=True) as connection:
        for name, facts in manifest["marts"].items():
            row = connection.execute(f"SELECT count(*) FROM {identifier(name)}").fetchone()  # noqa: S608
            if row is None or row[0] != facts["rows"]:
                raise MartError(f"view {name} gives {row and row[0]} rows instead of {facts['rows']}")


def _is_at_home(published: Published) -> bool:
    """Whether the catalog can be opened and all its views name the folder in which it lies.

    A file that was found so is looked into again only when it is another one: opening it is half the time of a query.
    """
    path = published.path / CATALOG
    try:
        stat = path.stat()
    except OSError:
        return False
    identity = (path, stat.st_ino, stat.st_size, stat.st_mtime_ns)
    if identity in _at_home:
        return True
    found = _names_its_folder(published)
    if found:
        _at_home.clear()
        _at_home.add(identity)
    return found


_at_home: set[tuple[Path, int, int, int]] = set()


def _names_its_folder(published: Published) -> bool:
    import duckdb

    prefix = quoted(as_pattern(published.path) + "/")[1:-1]
    try:
        with duckdb.connect(str(published.path / CATALOG), read_only=True) as connection:
            row = connection.execute(
                "SELECT count(*), count(*) FILTER (contains(sql, ?)) FROM duckdb_views() WHERE NOT internal", [prefix]
            ).fetchone()
    except duckdb.Error:
        return False
    return row is not None and row[0] == row[1] == len(published.manifest["marts"])


def follow_pointer(database: Database, settings: Settings) -> Path:
    """Make the stable path lead to the current generation, as after a publication or a roll-back; returns the path.

    Raises:
        NothingPublishedError: there is none yet.
        MartError: something else lies at the stable path.
    """
    published = require_current(database, settings)
    link = current_link(settings)
    # Relative, so that it still leads there after the data folder has moved.
    target = os.path.relpath(published.path, link.parent)
    if link.is_symlink() and str(link.readlink()) == target:
        return link
    link.parent.mkdir(parents=True, exist_ok=True)
    aside = link.with_name(f".{link.name}-{new_id()[-8:]}")
    try:
        aside.symlink_to(target, target_is_directory=True)
        aside.replace(link)
    except OSError as error:
        aside.unlink(missing_ok=True)
        raise MartError(f"{link} cannot lead to {target}: {error.strerror}. Move away what lies there") from error
    return link


def repair_catalog(database: Database, settings: Settings) -> list[str]:
    """Make anew the catalogs that are damaged or whose data folder has moved, and the stable path.

    Returns the names of the generations whose catalog was made. Every kept generation is looked at, so that rolling
    back works too.
    """
    with database.read() as connection:
        rows = connection.execute(
            select(Generation.pk, Generation.name, Generation.manifest, Generation.created_at)
            .where(Generation.kind == KIND, Generation.collected_at.is_(None))
            .order_by(Generation.pk)
        ).all()
    repaired = []
    for row in rows:
        folder = settings.generations_dir / KIND / row.name
        published = Published(row.pk, KIND, row.name, folder, row.manifest, row.created_at)
        if folder.is_dir() and not _is_at_home(published):
            create(folder, row.manifest)
            repaired.append(row.name)
    if rows:
        follow_pointer(database, settings)
    return repaired


def current_catalog(database: Database, settings: Settings) -> Published:
    """The current generation, its catalog repaired where that is needed.

    Raises:
        NothingPublishedError: there is none yet.
    """
    published = require_current(database, settings)
    if not _is_at_home(published):
        repair_catalog(database, settings)
    return published


def open_catalog(database: Database, settings: Settings) -> "duckdb.DuckDBPyConnection":
    """A read-only connection to the current catalog, for code of this project: it can read whatever the process can.

    The queries of people go to `query.run_query`. Any number of processes may have the catalog open, also while the
    next generation is published; this connection then keeps reading the one that it opened.

    Raises:
        NothingPublishedError: there is none yet.
    """
    import duckdb

    return duckdb.connect(str(current_catalog(database, settings).path / CATALOG), read_only=True)


@contextlib.contextmanager
def workbench(folder: Path) -> Iterator["duckdb.DuckDBPyConnection"]:
    """A DuckDB in memory for computing over a half-built generation; spills into its folder, and cleans up."""
    import shutil

    import duckdb

    spill = folder / ".spill"
    config: dict[str, Any] = {"memory_limit": "256MiB", "temp_directory": str(spill), "preserve_insertion_order": False}
    try:
        with duckdb.connect(config=config) as connection:
            yield connection
    finally:
        shutil.rmtree(spill, ignore_errors=True)
