"""Where libraries lie that are no folders of this machine: prefixes of S3-compatible stores, read by a client that has
no way to write.

Belongs here: naming a place, reaching a store, reading objects as files are read, and what its failures mean in the
words of the operating system. Does not: what is in an object, the walk over a library (`warehouse.ingest`), and
published files, which are the only ones ever written to a store (`warehouse.published`).

An object is told from its next version by its size, its time and its ETag. Rows have places for a size and a time in
nanoseconds, and stores give whole seconds: the nanoseconds are what the ETag is folded into. The client (obstore) is
an extra, imported when a store is first read.
"""

import errno
import hashlib
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from obstore import GetOptions, GetResult, ObjectMeta, SuffixRange
    from obstore.store import ClientConfig, S3Config, S3Store

SCHEME: Final = "s3://"
PART_BYTES: Final = 8 * 2**20
"""Of one range read: large enough that its latency does not count, small enough to be read again after a failure."""
STREAM_BYTES: Final = 2 * 2**20
"""Of one range read of an object that is sent on, which many may be at once."""
PAGE: Final = 1_000
"""Objects of one page of a listing, which is one request: the most that S3 gives."""
_NANOSECONDS: Final = 10**9
_ATTEMPTS: Final = 3
"""For a body that breaks off; whatever fails before it is repeated by the client."""
_AWAY_SECONDS: Final = 30.0
"""A store that could not be reached is not asked again for so long: thousands of objects would each wait for it."""
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
_NO_BUCKET: Final = "NoSuchBucket"
_STATUS: Final = re.compile(r"non-2xx status code: (\d{3})")
_SAID: Final = re.compile(r"<Code>([^<]{1,100})</Code>\s*(?:<Message>([^<]{0,300})</Message>)?")
_EXTRA: Final = 'the client for S3 is not installed: pip install "lora-manager-backend[s3]"'


class ExtraMissingError(RuntimeError):
    """A store is named, and the package that reads it is not installed."""


class UnreachableError(OSError):
    """The store cannot be had now, which says nothing about any object in it."""

    def __init__(self, what: str, path: str) -> None:
        super().__init__(errno.EHOSTUNREACH, what, path)


class ChangedError(OSError):
    """The object was replaced while it was read."""

    def __init__(self, path: str) -> None:
        super().__init__(errno.ESTALE, "was replaced while it was read", path)


class UnlistableError(OSError):
    """A listing has a key that is no path."""

    def __init__(self, what: str, path: str) -> None:
        super().__init__(errno.EINVAL, what, path)


@dataclass(frozen=True, slots=True, order=True)
class StoreUrl:
    """A bucket, or what lies below a prefix of it. `prefix` has no slash at either end."""

    bucket: str
    prefix: str = ""

    @classmethod
    def parse(cls, text: str) -> "StoreUrl":
        """The place that `s3://bucket/prefix` names.

        Raises:
            ValueError: it names none.
        """
        bucket, _, prefix = text.removeprefix(SCHEME).partition("/")
        prefix = prefix.rstrip("/")
        if not text.startswith(SCHEME) or not _BUCKET.fullmatch(bucket):
            raise ValueError(f"{text!r} is no place in a store: write s3://bucket or s3://bucket/prefix")
        if prefix and not {"", ".", ".."}.isdisjoint(prefix.split("/")):
            raise ValueError(f"{text!r} has an empty part, '.' or '..' in its prefix, which no library can lie below")
        return cls(bucket, prefix)

    def __str__(self) -> str:
        return f"{SCHEME}{self.bucket}/{self.prefix}" if self.prefix else f"{SCHEME}{self.bucket}"

    def is_relative_to(self, other: object) -> bool:
        """Whether this is another place or lies below it."""
        if not isinstance(other, StoreUrl) or other.bucket != self.bucket:
            return False
        return not other.prefix or self.prefix == other.prefix or self.prefix.startswith(f"{other.prefix}/")

    def path_of(self, key: str) -> str:
        """An object of this bucket as rows name it."""
        return f"{SCHEME}{self.bucket}/{key}"


Span = tuple[int, int | None]
"""From a byte to before another one, or to the end; a negative start counts from the end."""
LibraryRoot = Path | StoreUrl
"""Where a library lies."""


def is_stored(path: str) -> bool:
    """Whether a path of a row is an object of a store."""
    return path.startswith(SCHEME)


def root_at(text: str) -> LibraryRoot:
    """The root that a setting, an argument or a row names.

    Raises:
        ValueError: it begins like a store and names none.
    """
    return StoreUrl.parse(text) if is_stored(text) else Path(text)


@dataclass(frozen=True, slots=True)
class Access:
    """How a store is reached, and as whom. What is empty is taken from the standard AWS_ variables, or from the role
    of the machine."""

    endpoint: str = ""
    """Address of the store; empty: AWS itself."""
    region: str = ""
    key_id: str = ""
    secret: str = field(default="", repr=False)
    anonymous: bool = False
    virtual_hosted: bool = False
    """Whether the bucket is part of the host's name, which is not how most stores beside AWS are set up."""
    retry_seconds: float = 60.0
    """For so long a request that failed is tried again."""


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object of a listing."""

    key: str
    size: int
    mtime_ns: int
    inode: int


def _folded(etag: str | None) -> int:
    """An ETag as 63 bits."""
    digest = hashlib.blake2b((etag or "").encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def _stamp(modified: datetime, etag: str | None) -> int:
    """The time of an object in whole seconds, and its ETag in the place of the nanoseconds."""
    return int(modified.timestamp()) * _NANOSECONDS + _folded(etag) % _NANOSECONDS


@dataclass(frozen=True, slots=True)
class Seen:
    """Size and stamp that a row has of an object."""

    size: int
    mtime_ns: int


class Bucket:
    """Reads one bucket. Whatever fails is raised as an OSError that says the same of a file: FileNotFoundError,
    PermissionError, ChangedError, UnreachableError."""

    def __init__(self, name: str, access: Access) -> None:
        self.name = name
        self._store = open_store(name, access)
        self._away_until = 0.0

    def probe(self, prefix: str) -> None:
        """Ask for one page of a listing, also of a store that could not be reached a moment ago.

        Raises:
            OSError: it cannot be listed.
        """
        import obstore

        self._away_until = 0.0
        with suppress(UnlistableError), self._answers(prefix):
            next(iter(obstore.list(self._store, prefix or None, chunk_size=1)), None)

    def pages(self, prefix: str) -> Iterator[list[StoredObject]]:
        """Every object below a prefix, by pages, each one request, in the order of their keys.

        Raises:
            UnlistableError: a key is no path; what lies in other folders can still be had by `folder`.
            OSError: it cannot be listed.
        """
        import obstore

        with self._answers(prefix):
            for page in obstore.list(self._store, prefix or None, chunk_size=PAGE):
                yield [_object(meta) for meta in page]

    def folder(self, prefix: str) -> tuple[list[StoredObject], list[str]]:
        """The objects right below a prefix, and the prefixes below it.

        Raises:
            OSError: as `pages`.
        """
        import obstore

        with self._answers(prefix):
            listing = obstore.list_with_delimiter(self._store, prefix or None)
            return [_object(meta) for meta in listing["objects"]], sorted(listing["common_prefixes"])

    def read(self, key: str, *, limit: int) -> tuple[bytes | None, int, int]:
        """(the bytes of an object, their number, its stamp); no bytes where there are more than `limit`.

        Raises:
            OSError: it cannot be read.
        """
        with self._answers(key):
            for attempt in range(1, _ATTEMPTS + 1):
                result = self._get(key, {})
                meta = result.meta
                stamp = _stamp(meta["last_modified"], meta["e_tag"])
                if meta["size"] > limit:
                    return None, meta["size"], stamp
                raw = self._body(result, final=attempt == _ATTEMPTS)
                if raw is not None:
                    return raw, len(raw), stamp
        raise AssertionError("the last attempt returns or raises")

    def open(self, key: str, *, first: int, seen: Seen | None = None) -> "ObjectFile":
        """An object pinned to the version it has now, with its first bytes read.

        Args:
            first: how many bytes are read at once; only those are there if no more are asked for.
            seen: what a row has of it; its stamp holds on while the ETag is the same.

        Raises:
            OSError: it cannot be read.
        """
        if first and (seen is None or seen.size):
            try:
                return self._opened(key, (0, first), seen)
            except ChangedError:
                # No range of an empty object can be satisfied.
                pass
        return self._opened(key, None, seen)

    def _opened(self, key: str, span: tuple[int, int] | None, seen: Seen | None) -> "ObjectFile":
        with self._answers(key):
            result, head = self._part(key, span, None)
        meta = result.meta
        mtime_ns = _stamp(meta["last_modified"], meta["e_tag"])
        if seen is not None and seen.mtime_ns % _NANOSECONDS == mtime_ns % _NANOSECONDS:
            mtime_ns = seen.mtime_ns
        return ObjectFile(self, key, size=meta["size"], etag=meta["e_tag"], mtime_ns=mtime_ns, head=head)

    def stream(self, key: str, span: Span | None = None) -> "ObjectStream":
        """An object, or a span of it, to be sent on as it comes: in parts, each of which is read when it is wanted.

        Raises:
            ChangedError: it has no such span.
            OSError: it cannot be read.
        """
        start, stop = span or (0, None)
        last = start + STREAM_BYTES
        asked: tuple[int, int] | SuffixRange = (start, last if stop is None else min(stop, last))
        if start < 0:
            asked = {"suffix": -start}
        with self._answers(key):
            result, head = self._part(key, asked, None)
        meta = result.meta
        begin, end = result.range
        if start >= 0:
            end = meta["size"] if stop is None else min(stop, meta["size"])
        mtime_ns = _stamp(meta["last_modified"], meta["e_tag"])
        return ObjectStream(meta["size"], mtime_ns, begin, end, self._parts(key, head, begin, end, meta["e_tag"]))

    def _parts(self, key: str, head: bytes, start: int, stop: int, etag: str | None) -> Iterator[bytes]:
        yield head
        start += len(head)
        while start < stop:
            part = self.part(key, start, min(start + STREAM_BYTES, stop), etag)
            yield part
            start += len(part)

    def part(self, key: str, start: int, stop: int, etag: str | None) -> bytes:
        """The bytes [start, stop) of the version with an ETag.

        Raises:
            ChangedError: the object has another ETag by now.
            OSError: it cannot be read.
        """
        with self._answers(key):
            result, raw = self._part(key, (start, stop), etag)
            # Not every store knows the condition.
            if result.meta["e_tag"] != etag or len(raw) != stop - start:
                raise ChangedError(self._path(key))
            return raw

    def _part(
        self, key: str, span: "tuple[int, int] | SuffixRange | None", etag: str | None
    ) -> "tuple[GetResult, bytes]":
        options: GetOptions = {"range": span} if span is not None else {}
        if etag is not None:
            options["if_match"] = etag
        for attempt in range(1, _ATTEMPTS + 1):
            result = self._get(key, options)
            raw = self._body(result, final=attempt == _ATTEMPTS)
            if raw is not None:
                return result, raw
        raise AssertionError("the last attempt returns or raises")

    def _get(self, key: str, options: "GetOptions") -> "GetResult":
        import obstore

        return obstore.get(self._store, key, options=options)

    def _body(self, result: "GetResult", *, final: bool) -> bytes | None:
        """The bytes of an answer; None where it broke off and shall be asked for again."""
        from obstore.exceptions import GenericError

        try:
            return bytes(result.bytes())
        except GenericError:
            if final:
                raise
            return None

    def _path(self, key: str) -> str:
        return f"{SCHEME}{self.name}/{key}"

    @contextmanager
    def _answers(self, key: str) -> Iterator[None]:
        """Say of a failure of the client what it means."""
        from obstore import exceptions

        path = self._path(key)
        if time.monotonic() < self._away_until:
            raise UnreachableError("the store could not be reached a moment ago", path)
        try:
            yield
        except FileNotFoundError as error:
            if _NO_BUCKET in str(error):
                raise UnreachableError(_reason(error), path) from None
            raise FileNotFoundError(errno.ENOENT, "is not in the store", path) from None
        except OSError:
            raise
        except ValueError as error:
            raise FileNotFoundError(errno.ENOENT, _reason(error), path) from None
        except exceptions.BaseError as error:
            meant = _meant(error, path)
            if isinstance(meant, UnreachableError) and _is_away(error):
                self._away_until = time.monotonic() + _AWAY_SECONDS
            raise meant from None


def _meant(error: Exception, path: str) -> OSError:
    """What a failure of the client would be of a file."""
    from obstore import exceptions

    match error:
        case exceptions.PreconditionError():
            return ChangedError(path)
        case exceptions.InvalidPathError():
            return UnlistableError(_reason(error), path)
        case exceptions.PermissionDeniedError() | exceptions.UnauthenticatedError():
            return _refused(error, path)
    status = _STATUS.search(str(error))
    match status[1] if status is not None else None:
        case "416":
            return ChangedError(path)
        case "401" | "403":
            return _refused(error, path)
        case _:
            return UnreachableError(_reason(error), path)


def _is_away(error: Exception) -> bool:
    """Whether it is the store that fails, and not what was asked of it."""
    status = _STATUS.search(str(error))
    return status is None or status[1] in ("502", "503", "504")


def _object(meta: "ObjectMeta") -> StoredObject:
    etag = meta["e_tag"]
    return StoredObject(meta["path"], meta["size"], _stamp(meta["last_modified"], etag), _folded(etag))


def _refused(error: Exception, path: str) -> PermissionError:
    return PermissionError(errno.EACCES, f"the store refuses it to these credentials ({_reason(error)})", path)


def _reason(error: Exception) -> str:
    """What the store said, or else what the client did."""
    text = str(error)
    said = _SAID.search(text)
    if said is not None:
        return f"{said[1]}: {said[2]}" if said[2] else said[1]
    line = text.strip().partition("\n")[0].strip()
    return line if len(line) <= 300 else f"{line[:297]}…"


@dataclass(frozen=True, slots=True)
class ObjectFile:
    """An object pinned to one version: what is read of it later is of that version, or raises ChangedError."""

    bucket: Bucket
    key: str
    size: int
    etag: str | None
    mtime_ns: int
    head: bytes
    """Its first bytes."""

    def pread(self, count: int, offset: int) -> bytes:
        """Up to `count` bytes from `offset` on; fewer at the end.

        Raises:
            OSError: they cannot be read.
        """
        stop = min(offset + count, self.size)
        if stop <= offset:
            return b""
        if stop <= len(self.head):
            return self.head[offset:stop]
        if offset < len(self.head):
            return self.head[offset:] + self.bucket.part(self.key, len(self.head), stop, self.etag)
        return self.bucket.part(self.key, offset, stop, self.etag)


@dataclass(frozen=True, slots=True)
class ObjectStream:
    """The bytes [start, stop) of an object of `size` bytes; whoever takes `chunks` meets what breaks off."""

    size: int
    mtime_ns: int
    start: int
    stop: int
    chunks: Iterator[bytes]


def open_store(bucket: str, access: Access) -> "S3Store":
    """The client of a bucket. Nothing is asked of the store yet.

    Raises:
        ExtraMissingError: the package of the client is not installed.
    """
    try:
        from obstore.store import S3Store
    except ImportError:
        raise ExtraMissingError(_EXTRA) from None
    config: S3Config = {}
    client: ClientConfig = {"connect_timeout": "5s", "timeout": "60s"}
    if access.endpoint:
        config["endpoint"] = access.endpoint
        client["allow_http"] = access.endpoint.startswith("http://")
    if access.region:
        config["region"] = access.region
    if access.key_id:
        config["access_key_id"] = access.key_id
        config["secret_access_key"] = access.secret
    if access.anonymous:
        config["skip_signature"] = True
    config["virtual_hosted_style_request"] = access.virtual_hosted
    return S3Store(
        bucket,
        config=config,
        client_options=client,
        retry_config={"retry_timeout": timedelta(seconds=access.retry_seconds)},
    )


@lru_cache(maxsize=64)
def bucket_of(name: str, access: Access) -> Bucket:
    """The reader of a bucket, one for each process, so that its connections are used again.

    Raises:
        ExtraMissingError: the package of the client is not installed.
    """
    return Bucket(name, access)


def object_at(path: str, access: Access) -> tuple[Bucket, str]:
    """The reader of the bucket that a path of a row names, and the key in it.

    Raises:
        ExtraMissingError: the package of the client is not installed.
    """
    bucket, _, key = path.removeprefix(SCHEME).partition("/")
    return bucket_of(bucket, access), key
