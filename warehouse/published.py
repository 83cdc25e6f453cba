"""Generations in a store: where readers on other machines get them from, each once, proven file by file.

Belongs here: uploading, downloading and deleting one generation. Does not: building one, and the pointer, which moves
when everything is there (`warehouse.generations`); libraries, which nothing is ever written to (`warehouse.storage`).

A generation lies below `<place>/generations/<kind>/<name>/`, its files beside `files.json`, which is written last and
holds the size and digest of each. Its own digest stands in the row of the generation, so that whoever can write to the
store alone can make a reader take nothing that was not published.
"""

import fcntl
import json
import shutil
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any, Final, TypeVar

from blake3 import blake3

from warehouse.settings import Settings
from warehouse.storage import PART_BYTES, Access, Bucket, Seen, StoreUrl

FILES: Final = "files.json"
KEY: Final = "store"
"""Of what a manifest says about the store, in the row of the generation."""
_FOLDER: Final = "generations"
_AT_ONCE: Final = 4
"""Files under way at once."""
_PARTS_AT_ONCE: Final = 4
"""Of one file that is uploaded, each of 5 MiB in memory."""
_MAX_FILES_BYTES: Final = 64 * 2**20
_DIGEST_BUFFER: Final = 1 << 20
_LOCK: Final = ".getting.lock"
_READ_ONLY: Final = 0o444
_STAMP: Final = "%Y%m%dT%H%M%S"
"""How the name of a generation begins."""

Made = TypeVar("Made")


class DamagedError(OSError):
    """What lies in the store is not what was published."""


@dataclass(frozen=True, slots=True)
class InStore:
    """What the row of a generation says of its files in a store."""

    url: str
    digest: str
    """BLAKE3 of `files.json`."""

    def as_manifest(self) -> dict[str, str]:
        """The member of the manifest."""
        return {"url": self.url, "files": self.digest}

    @classmethod
    def of(cls, manifest: Mapping[str, Any]) -> "InStore | None":
        """What a manifest says; None for a generation that was published without a store."""
        said = manifest.get(KEY)
        return cls(said["url"], said["files"]) if isinstance(said, Mapping) else None


class _WritableBucket(Bucket):
    """The bucket of published files, which alone are written."""

    def put(self, key: str, content: bytes | Path) -> None:
        """Write an object, a large one in parts.

        Raises:
            OSError: it could not be written.
        """
        import obstore

        with self._answers(key):
            obstore.put(self._store, key, content, max_concurrency=_PARTS_AT_ONCE)

    def delete(self, keys: list[str]) -> None:
        """Delete objects; those that are not there are no failure.

        Raises:
            OSError: they could not be deleted.
        """
        import obstore

        if keys:
            with self._answers(keys[0]):
                obstore.delete(self._store, keys)


@lru_cache(maxsize=8)
def _bucket(name: str, access: Access) -> _WritableBucket:
    return _WritableBucket(name, access)


def place_of(settings: Settings, kind: str, name: str = "") -> StoreUrl | None:
    """Where a generation, or all of a kind, lies in the store; None where none is configured."""
    place = settings.published_place
    if place is None:
        return None
    inner = "/".join(part for part in (place.prefix, _FOLDER, kind, name) if part)
    return StoreUrl(place.bucket, inner)


def is_stored_where_wanted(settings: Settings, manifest: Mapping[str, Any], kind: str, name: str) -> bool:
    """Whether a generation lies where the settings say that published files do; also where they name no store."""
    place = place_of(settings, kind, name)
    stored = InStore.of(manifest)
    return place is None or (stored is not None and stored.url == str(place))


def upload(settings: Settings, kind: str, name: str, folder: Path) -> InStore | None:
    """Put a finished generation into the store, its list of files last; None where no store is configured.

    Raises:
        OSError: it could not be written whole; what was written of it is deleted, as far as the store allows.
    """
    place = place_of(settings, kind, name)
    if place is None:
        return None
    bucket = _bucket(place.bucket, settings.published_access)
    paths = {path.relative_to(folder).as_posix(): path for path in sorted(folder.rglob("*")) if path.is_file()}
    try:
        described = dict(zip(paths, _each(_described, paths.values()), strict=True))
        _each(lambda inner: bucket.put(f"{place.prefix}/{inner}", paths[inner]), paths)
        _require_sizes(bucket, place, {inner: said["bytes"] for inner, said in described.items()})
        listed = json.dumps({"files": described}, separators=(",", ":"), sort_keys=True).encode()
        bucket.put(f"{place.prefix}/{FILES}", listed)
    except BaseException:
        _delete_what_there_is(bucket, place)
        raise
    return InStore(str(place), blake3(listed).hexdigest())


def _described(path: Path) -> dict[str, Any]:
    digest = blake3()
    with path.open("rb") as stream:
        while chunk := stream.read(_DIGEST_BUFFER):
            digest.update(chunk)
    status = path.stat()
    is_read_only = not status.st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)
    return {"bytes": status.st_size, "blake3": digest.hexdigest(), "read_only": is_read_only}


def _require_sizes(bucket: Bucket, place: StoreUrl, wanted: Mapping[str, int]) -> None:
    found = {
        item.key.removeprefix(f"{place.prefix}/"): item.size for page in bucket.pages(place.prefix) for item in page
    }
    if found != wanted:
        raise DamagedError(f"{place} does not hold what was written to it")


def _delete_what_there_is(bucket: _WritableBucket, place: StoreUrl) -> None:
    """Undo an upload. A store that is away keeps what it has, until `delete_abandoned`."""
    try:
        _delete(bucket, place)
    except OSError:
        return


def _delete(bucket: _WritableBucket, place: StoreUrl) -> None:
    # The list first: what is half gone is nobody's generation.
    bucket.delete([f"{place.prefix}/{FILES}"])
    for page in list(bucket.pages(place.prefix)):
        bucket.delete([item.key for item in page])


def delete(settings: Settings, stored: InStore) -> None:
    """Delete a generation from the store.

    Raises:
        OSError: the store cannot be had.
    """
    place = StoreUrl.parse(stored.url)
    _delete(_bucket(place.bucket, settings.published_access), place)


def delete_abandoned(settings: Settings, kind: str, known: Iterable[str], age: timedelta) -> list[str]:
    """Delete what uploads left that died, and that no row names; the names.

    Raises:
        OSError: the store cannot be had.
    """
    place = place_of(settings, kind)
    if place is None:
        return []
    bucket = _bucket(place.bucket, settings.published_access)
    _, prefixes = bucket.folder(place.prefix)
    names = {prefix.rstrip("/").rpartition("/")[2] for prefix in prefixes} - set(known)
    abandoned = sorted(name for name in names if _is_older(name, age))
    for name in abandoned:
        _delete(bucket, StoreUrl(place.bucket, f"{place.prefix}/{name}"))
    return abandoned


def _is_older(name: str, age: timedelta) -> bool:
    try:
        made = datetime.strptime(name.partition("-")[0], _STAMP).replace(tzinfo=UTC)
    except ValueError:
        # None of ours.
        return False
    return datetime.now(UTC) - made > age


def download(settings: Settings, stored: InStore, folder: Path, finish: Callable[[Path], None]) -> None:
    """Get a generation into a folder that is not there yet, whole and proven or not at all.

    Processes of one machine take turns: one gets it, the others find it. `finish` is called with the folder that holds
    it before it gets its name.

    Raises:
        DamagedError: a file is not what was published.
        OSError: the store, or the disk, does not do it.
    """
    place = StoreUrl.parse(stored.url)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with _alone(folder.parent / _LOCK):
        if folder.is_dir():
            return
        bucket = _bucket(place.bucket, settings.published_access)
        aside = folder.with_name(f".getting-{folder.name}")
        shutil.rmtree(aside, ignore_errors=True)
        try:
            files = _files(bucket, place, stored)
            _each(lambda inner: _get(bucket, place, inner, files[inner], aside / inner), files)
            finish(aside)
            aside.rename(folder)
        finally:
            shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def _alone(lock: Path) -> Iterator[None]:
    with lock.open("w") as stream:
        # The file stays: who waits for the lock of one that is gone would not see who takes that of the next.
        fcntl.flock(stream, fcntl.LOCK_EX)
        yield


def _files(bucket: Bucket, place: StoreUrl, stored: InStore) -> dict[str, Mapping[str, Any]]:
    raw, size, _ = bucket.read(f"{place.prefix}/{FILES}", limit=_MAX_FILES_BYTES)
    if raw is None or blake3(raw).hexdigest() != stored.digest:
        raise DamagedError(f"{place}/{FILES} ({size:,} bytes) is not what was published")
    files: dict[str, Mapping[str, Any]] = json.loads(raw)["files"]
    return files


def _get(bucket: Bucket, place: StoreUrl, inner: str, said: Mapping[str, Any], target: Path) -> None:
    if PurePosixPath(inner).is_absolute() or ".." in PurePosixPath(inner).parts:
        raise DamagedError(f"{place} names a file outside of itself")
    target.parent.mkdir(parents=True, exist_ok=True)
    digest, size = blake3(), 0
    source = bucket.open(f"{place.prefix}/{inner}", first=PART_BYTES, seen=Seen(said["bytes"], 0))
    with target.open("wb") as file:
        part = source.head
        while part and size < said["bytes"]:
            size += len(part)
            digest.update(part)
            file.write(part)
            part = source.pread(PART_BYTES, size)
    if size != said["bytes"] or digest.hexdigest() != said["blake3"]:
        raise DamagedError(f"{place}/{inner} is not what was published")
    if said["read_only"]:
        target.chmod(_READ_ONLY)


def _each(function: Callable[[Any], Made], items: Iterable[Any]) -> list[Made]:
    with ThreadPoolExecutor(_AT_ONCE, "published") as threads:
        try:
            return list(threads.map(function, items))
        except BaseException:
            threads.shutdown(wait=True, cancel_futures=True)
            raise
