"""The one way in which files are published: build aside, verify, sync to disk, rename, move a pointer.

A generation is an immutable folder `generations/<kind>/<name>`. Readers ask for the current one and open it; nothing
in it ever changes, so an open generation stays whole while the next is published, and rolling back is moving the
pointer back. What is inside a kind of generation belongs to the module that builds it.

Where the settings name a store, a generation is put there before its pointer moves, and `at_hand` gets it for readers
on machines that did not build it (`warehouse.published`).
"""

import hashlib
import json
import logging
import os
import shutil
import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select, update
from sqlalchemy.exc import SQLAlchemyError

from warehouse import published as stored
from warehouse.engine import Database
from warehouse.ids import new_id
from warehouse.models import Generation, Pointer, utc_now
from warehouse.settings import Settings
from warehouse.storage import ExtraMissingError

MANIFEST = "manifest.json"
FILES = "files"
"""In a manifest, where a kind has it: the SHA-256 of each file by its path in the folder."""
_BUILDING = ".building-"
_ABANDONED_AFTER = timedelta(hours=24)
"""A folder this old that no row names was left by a process that died."""

Manifest = dict[str, Any]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Published:
    """A generation that is, or once was, current."""

    pk: int
    kind: str
    name: str
    path: Path
    manifest: Manifest
    created_at: datetime


class PublicationError(RuntimeError):
    """A generation could not be published. The pointer has not moved."""


class DamagedError(OSError):
    """The files of a generation are not those that were published; the message says which one, and what to do."""

    def __init__(self, published: Published, what: str) -> None:
        super().__init__(
            f"{published.kind} {published.name} is damaged: {what}. `lora-manager sync` makes it anew. "
            f"Its files: {published.path}"
        )


def digests(folder: Path) -> dict[str, str]:
    """What a manifest says of the files that are in a folder now, for `FILES`; locks come and go with their readers."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix != ".lock")
    return {path.relative_to(folder).as_posix(): file_sha256(path) for path in files}


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def require_whole(published: Published) -> None:
    """Read the files of a generation whose manifest names them, and see that they are as they were written.

    A second for two gigabytes. Libraries that map files take a flipped bit for a length, and the process with them.

    Raises:
        DamagedError: one is gone, or another.
    """
    for name, digest in published.manifest.get(FILES, {}).items():
        try:
            found = file_sha256(published.path / name)
        except OSError as error:
            raise DamagedError(published, f"{name} cannot be read ({error.strerror})") from error
        if found != digest:
            raise DamagedError(published, f"{name} is not what was written")


def is_whole(published: Published) -> bool:
    """Whether `require_whole` has nothing to say."""
    try:
        require_whole(published)
    except DamagedError:
        return False
    return published.path.is_dir()


class OnItsWayError(OSError):
    """The files of a generation are being got from the store."""


def _sync(path: Path) -> None:
    """Have a file or a folder on disk, not in a cache."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_tree(folder: Path) -> None:
    for directory, _, names in os.walk(folder):
        for name in names:
            _sync(Path(directory) / name)
        _sync(Path(directory))


def _move_pointer(connection: Connection, kind: str, generation_pk: int, note: str | None) -> None:
    values = {"generation_pk": generation_pk, "moved_at": utc_now(), "note": note}
    if connection.execute(update(Pointer).where(Pointer.kind == kind).values(**values)).rowcount == 0:
        connection.execute(insert(Pointer).values(kind=kind, **values))


def _record(database: Database, kind: str, name: str, manifest: Manifest) -> tuple[int, datetime]:
    """Write the row of a generation, and move the pointer to it; its number and time."""
    created = utc_now()
    with database.write() as connection:
        row = insert(Generation).values(kind=kind, name=name, manifest=manifest, created_at=created)
        pk = connection.execute(row.returning(Generation.pk)).scalar_one()
        _move_pointer(connection, kind, pk, None)
    return pk, created


def _is_unrecorded(database: Database, kind: str, name: str) -> bool:
    """Whether a commit that failed has had no effect: a connection may be lost after the server has committed.

    False where the database does not tell; the files are then left to `collect`.
    """
    try:
        with database.read() as connection:
            rows = select(Generation.pk).where(Generation.kind == kind, Generation.name == name)
            return connection.execute(rows).first() is None
    except SQLAlchemyError:
        return False


def publish(
    database: Database,
    settings: Settings,
    kind: str,
    build: Callable[[Path], Manifest],
    *,
    finish: Callable[[Path, Manifest], None] | None = None,
) -> Published:
    """Build a generation of a kind and make it the current one.

    Args:
        kind: `indices/recommend`, `marts/analytics`, …
        build: writes its files into the given empty folder, verifies them, returns what the manifest shall say.
        finish: called with the final folder before the pointer moves, for files that must name their final path.

    Raises:
        PublicationError: the disk is full or not writable, or the store cannot be written to. Whatever `build` raises
        passes through. In every case the pointer stays where it was and the half-built folder is removed; only where
        the connection was lost in the middle of the commit the pointer may have moved, to files that then are there.
    """
    parent = settings.generations_dir / kind
    name = f"{utc_now():%Y%m%dT%H%M%S}-{new_id()[-8:]}"
    building, final = parent / f"{_BUILDING}{name}", parent / name
    try:
        building.mkdir(parents=True)
        manifest = build(building)
        (building / MANIFEST).write_text(json.dumps(manifest, indent=1, default=str), encoding="utf-8")
        _sync_tree(building)
        building.rename(final)
        if finish is not None:
            finish(final, manifest)
            _sync_tree(final)
        _sync(parent)
        in_store = stored.upload(settings, kind, name, final)
        if in_store is not None:
            manifest = {**manifest, stored.KEY: in_store.as_manifest()}
        pk, created = _record(database, kind, name, json.loads(json.dumps(manifest, default=str)))
    except BaseException as error:
        shutil.rmtree(building, ignore_errors=True)
        if not isinstance(error, SQLAlchemyError) or _is_unrecorded(database, kind, name):
            shutil.rmtree(final, ignore_errors=True)
        if isinstance(error, OSError):
            place = error.filename or parent
            raise PublicationError(
                f"{kind} was not published: {error.strerror or error} ({place}). The generation before it is still "
                "in use; free disk space or permissions, or see that the store can be written to, and run again"
            ) from error
        if isinstance(error, ExtraMissingError):
            raise PublicationError(f"{kind} was not published: {error}") from None
        raise
    return Published(pk, kind, name, final, manifest, created)


_downloads: dict[Path, "Future[None]"] = {}
_guard = threading.Lock()


def is_kept(settings: Settings, published: Published) -> bool:
    """Whether the files of a generation are where the settings want them, so that nothing need be published again."""
    if settings.published_place is None:
        return is_whole(published)
    if published.path.is_dir() and not is_whole(published):
        return False
    return stored.is_stored_where_wanted(settings, published.manifest, published.kind, published.name)


def at_hand(database: Database, settings: Settings, published: Published, *, wait: bool = True) -> Published:
    """A generation whose files are in the data folder of this machine, got from the store where they were not.

    Args:
        wait: whether to wait for that. Else it goes on in a thread, for readers that have an older one to answer with.

    Raises:
        OnItsWayError: with `wait=False`, while it is being got.
        OSError: the files are gone, or the store cannot be had, or holds something else.
    """
    if published.path.is_dir():
        return published
    in_store = stored.InStore.of(published.manifest)
    if in_store is None:
        return published
    with _guard:
        coming = _downloads.get(published.path)
        if coming is None:
            coming = Future()
            _downloads[published.path] = coming
            thread = threading.Thread(
                target=_get, args=(database, settings, published, in_store, coming), name="generation", daemon=True
            )
            thread.start()
    if not wait and not coming.done():
        raise OnItsWayError(f"{published.kind} {published.name} is being got from {in_store.url}")
    try:
        coming.result()
    finally:
        with _guard:
            _downloads.pop(published.path, None)
    return published


def readable(database: Database, settings: Settings, kind: str) -> Published | None:
    """The current generation of a kind, or the newest one that is here while the current one is being got or cannot be;
    None before the first publication. Only who has none at all waits.

    Raises:
        OSError: there is none here, and the current one cannot be had.
    """
    published = current(database, settings, kind)
    if published is None or published.path.is_dir():
        return published
    older = _newest_here(database, settings, kind)
    if older is None:
        return at_hand(database, settings, published)
    try:
        return at_hand(database, settings, published, wait=False)
    except OnItsWayError:
        return older
    except OSError as error:
        _log.warning("%s %s cannot be got from its store; an older one is read: %s", kind, published.name, error)
        return older


def _newest_here(database: Database, settings: Settings, kind: str) -> Published | None:
    parent = settings.generations_dir / kind
    names = [path.name for path in parent.iterdir() if path.is_dir()] if parent.is_dir() else []
    statement = (
        select(Generation.pk, Generation.name, Generation.manifest, Generation.created_at)
        .where(Generation.kind == kind, Generation.name.in_(names), Generation.collected_at.is_(None))
        .order_by(Generation.pk.desc())
        .limit(1)
    )
    with database.read() as connection:
        row = connection.execute(statement).first()
    return None if row is None else Published(row.pk, kind, row.name, parent / row.name, row.manifest, row.created_at)


def _get(
    database: Database, settings: Settings, published: Published, in_store: stored.InStore, coming: "Future[None]"
) -> None:
    try:
        stored.download(settings, in_store, published.path, _sync_tree)
        _drop_collected(database, settings, published.kind)
    except OSError as error:
        coming.set_exception(error)
    except ExtraMissingError as error:
        coming.set_exception(OSError(str(error)))
    except BaseException as error:
        coming.set_exception(error)
    else:
        coming.set_result(None)


def _drop_collected(database: Database, settings: Settings, kind: str) -> None:
    """Remove what this machine keeps of generations that another one has collected."""
    parent = settings.generations_dir / kind
    names = [path.name for path in parent.iterdir() if path.is_dir()]
    with database.read() as connection:
        collected = connection.execute(
            select(Generation.name).where(Generation.name.in_(names), Generation.collected_at.is_not(None))
        ).scalars()
        for name in collected.all():
            shutil.rmtree(parent / name, ignore_errors=True)


def current(database: Database, settings: Settings, kind: str) -> Published | None:
    """The generation that the pointer of a kind names; None before the first publication."""
    statement = (
        select(Generation.pk, Generation.name, Generation.manifest, Generation.created_at)
        .join(Pointer, Pointer.generation_pk == Generation.pk)
        .where(Pointer.kind == kind)
    )
    with database.read() as connection:
        row = connection.execute(statement).first()
    if row is None:
        return None
    return Published(row.pk, kind, row.name, settings.generations_dir / kind / row.name, row.manifest, row.created_at)


def manifests(database: Database, kind: str, names: Collection[str]) -> list[Manifest]:
    """What generations said of themselves, also those whose files were collected."""
    statement = select(Generation.manifest).where(Generation.kind == kind, Generation.name.in_(names))
    with database.read() as connection:
        return list(connection.execute(statement).scalars())


_POINTED_AT = select(Pointer.generation_pk).where(Pointer.kind == bindparam("wanted"))


def current_pk(connection: Connection, kind: str) -> int | None:
    """The number of the current generation: the cheap question of a reader that watches for the next one."""
    return connection.execute(_POINTED_AT, {"wanted": kind}).scalar()


def roll_back(database: Database, kind: str, name: str, *, note: str | None = None) -> None:
    """Point a kind at an earlier generation whose files are still there.

    Raises:
        LookupError: there is no such generation, or its files were collected.
    """
    with database.write() as connection:
        pk = connection.execute(
            select(Generation.pk).where(
                Generation.kind == kind, Generation.name == name, Generation.collected_at.is_(None)
            )
        ).scalar()
        if pk is None:
            raise LookupError(f"no generation {name!r} of {kind} is kept")
        _move_pointer(connection, kind, pk, note)


def collect(database: Database, settings: Settings, kind: str, *, keep: int = 3) -> list[str]:
    """Remove the files of all but the newest `keep` generations and the current one; their rows stay as history.

    Returns the names of the collected generations. Also removes the folders of publications that died a day ago, built
    or not: no row names them.
    """
    parent = settings.generations_dir / kind
    with database.read() as connection:
        now_current = current_pk(connection, kind)
        rows = connection.execute(
            select(Generation.pk, Generation.name, Generation.manifest)
            .where(Generation.kind == kind, Generation.collected_at.is_(None))
            .order_by(Generation.pk.desc())
        ).all()
    old = [row for position, row in enumerate(rows) if position >= keep and row.pk != now_current]
    collected = [row for row in old if _leaves_store(settings, row.manifest)]
    for row in collected:
        shutil.rmtree(parent / row.name, ignore_errors=True)
    if collected:
        with database.write() as connection:
            connection.execute(
                update(Generation)
                .where(Generation.pk.in_([row.pk for row in collected]))
                .values(collected_at=utc_now())
            )
    _remove_abandoned(database, kind, parent)
    _tidy_store(settings, kind, [row.name for row in rows])
    return [row.name for row in collected]


def _remove_abandoned(database: Database, kind: str, parent: Path) -> None:
    horizon = (utc_now() - _ABANDONED_AFTER).timestamp()
    old = [path for path in parent.glob("*") if path.is_dir() and path.stat().st_mtime < horizon]
    if not old:
        return
    with database.read() as connection:
        known = set(connection.execute(select(Generation.name).where(Generation.kind == kind)).scalars())
    for leftover in old:
        if leftover.name not in known:
            shutil.rmtree(leftover, ignore_errors=True)


def _leaves_store(settings: Settings, manifest: Manifest) -> bool:
    """Delete a generation from its store, if it lies in one; whether nothing of it is left there."""
    in_store = stored.InStore.of(manifest)
    if in_store is None:
        return True
    try:
        stored.delete(settings, in_store)
    except (OSError, ExtraMissingError) as error:
        _log.warning("an old generation stays in its store for now: %s: %s", in_store.url, error)
        return False
    return True


def _tidy_store(settings: Settings, kind: str, known: list[str]) -> None:
    try:
        stored.delete_abandoned(settings, kind, known, _ABANDONED_AFTER)
    except (OSError, ExtraMissingError) as error:
        _log.warning("what uploads of %s left in the store stays there for now: %s", kind, error)
