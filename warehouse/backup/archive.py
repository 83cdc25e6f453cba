"""The archive of a backup: what is written into it, and reading it without believing any of it.

Tables are parts of a few megabytes each: a MessagePack array of rows, which are arrays, compressed with gzip. A reader
needs nothing of the database that it came from, and nothing of it fits badly into memory.
"""

import io
import json
import tarfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import IO, Any

import msgspec
from blake3 import blake3
from isal import igzip

from warehouse.backup import BackupError
from warehouse.transfer import PortableRow
from warehouse.transfer.digests import TableDigest
from warehouse.transfer.shapes import TableShape

FORMAT = 1
"""Raised when a reader of before could not read what is written."""
HEAD, MANIFEST, SEAL = "backup.json", "manifest.json", "manifest.blake3"
_TABLES, _FILES = "tables/", "files/"
_PART_BYTES = 4 * 2**20
_PART_ROWS = 20_000
_BLOCK = 2**20
_LARGEST_TEXT = 512 * 2**20
"""Bytes of a manifest: a hundred for each picture."""


@dataclass(frozen=True, slots=True)
class Head:
    """What a backup says of itself before anything else."""

    version: str
    """Of the project."""
    revision: str
    """Of the database's schema."""
    dialect: str
    created_at: str
    shapes: tuple[TableShape, ...]

    def encode(self) -> bytes:
        """As it is written."""
        value = {
            "format": FORMAT,
            "version": self.version,
            "revision": self.revision,
            "dialect": self.dialect,
            "created_at": self.created_at,
            "tables": [shape.to_json() for shape in self.shapes],
        }
        return json.dumps(value, indent=1).encode()

    @classmethod
    def decode(cls, data: bytes, path: Path) -> "Head":
        """What is written.

        Raises:
            BackupError: it is none, or of a later format.
        """
        try:
            value = json.loads(data)
            if value["format"] > FORMAT:
                raise BackupError(
                    f"{path} was made by version {value.get('version')} in a later format: restore it with that version"
                )
            shapes = tuple(TableShape.from_json(shape) for shape in value["tables"])
            return cls(value["version"], value["revision"], value["dialect"], value["created_at"], shapes)
        except (ValueError, KeyError, TypeError) as error:
            raise BackupError(f"{path} is damaged: {HEAD} cannot be read") from error


@dataclass(slots=True)
class Manifest:
    """What is in a backup, with the digests of all of it."""

    members: dict[str, list[Any]] = field(default_factory=dict)
    """Size in bytes and BLAKE3 by name."""
    tables: dict[str, list[Any]] = field(default_factory=dict)
    """Rows and digest (`warehouse.transfer.digests`) by name."""
    sequences: dict[str, int] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Of all tables."""
        return sum(rows for rows, _ in self.tables.values())

    @property
    def files(self) -> int:
        """Files of the data folder."""
        return sum(name.startswith(_FILES) for name in self.members)


class ArchiveWriter:
    """Writes an archive from its first byte to its last, never going back."""

    def __init__(self, stream: IO[bytes], head: Head) -> None:
        self._tar = tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT)  # noqa: SIM115 - see `close`
        self._made = int(datetime.fromisoformat(head.created_at).timestamp())
        self.manifest = Manifest()
        self._add(HEAD, head.encode())

    def _info(self, name: str, size: int) -> tarfile.TarInfo:
        info = tarfile.TarInfo(name)
        info.size, info.mode, info.mtime = size, 0o600, self._made
        return info

    def _add(self, name: str, data: bytes) -> None:
        self._tar.addfile(self._info(name, len(data)), io.BytesIO(data))
        self.manifest.members[name] = [len(data), blake3(data).hexdigest()]

    def add_table(self, position: int, shape: TableShape, rows: Iterator[PortableRow]) -> int:
        """Write a table in parts; returns how many rows it has."""

        digest = TableDigest(shape)
        part: list[PortableRow] = []
        parts = size = 0

        def write() -> None:
            name = f"{_TABLES}{position:03d}-{shape.name}/{parts:06d}.msgpack.gz"
            self._add(name, igzip.compress(msgspec.msgpack.encode(part), mtime=0))

        for row in rows:
            size += digest.add(row)
            part.append(row)
            if size >= _PART_BYTES or len(part) >= _PART_ROWS:
                write()
                part, size, parts = [], 0, parts + 1
        if part:
            write()
        self.manifest.tables[shape.name] = [digest.rows, digest.hexadecimal]
        return digest.rows

    def add_file(self, name: str, stream: IO[bytes], size: int) -> None:
        """Write so many bytes of a file, under its path in the data folder.

        Raises:
            OSError: it has fewer.
        """
        reading = _Hashing(stream)
        self._tar.addfile(self._info(f"{_FILES}{name}", size), reading)
        self.manifest.members[f"{_FILES}{name}"] = [size, reading.digest.hexdigest()]

    def close(self) -> None:
        """Write the manifest and the end."""
        written = json.dumps(
            {
                "members": self.manifest.members,
                "tables": self.manifest.tables,
                "sequences": self.manifest.sequences,
            },
            indent=0,
        ).encode()
        self._add(MANIFEST, written)
        self._add(SEAL, blake3(written).hexdigest().encode())
        self._tar.close()


class _Hashing(io.RawIOBase):
    """A stream that is hashed as it is read."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.digest = blake3()

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        data = self._stream.read(size)
        self.digest.update(data)
        return data


class Member:
    """A part of an archive while it is at hand."""

    def __init__(self, path: Path, name: str, stream: IO[bytes], size: int) -> None:
        self._path, self.name, self._stream, self.size = path, name, stream, size
        self._digest = blake3()
        self._left = size

    def blocks(self) -> Iterator[bytes]:
        """What it holds.

        Raises:
            BackupError: the archive ends before it does.
        """
        while self._left:
            try:
                block = self._stream.read(min(_BLOCK, self._left))
            except tarfile.TarError as error:
                raise _cut(self._path) from error
            if not block:
                raise _cut(self._path)
            self._left -= len(block)
            self._digest.update(block)
            yield block

    def data(self) -> bytes:
        """All of it at once."""
        return b"".join(self.blocks())

    def digest(self) -> list[Any]:
        """Its size and digest; what was not read yet is read for it."""
        for _ in self.blocks():
            pass
        return [self.size, self._digest.hexdigest()]

    @property
    def table(self) -> str | None:
        """The table it is a part of."""
        if not self.name.startswith(_TABLES):
            return None
        return self.name.removeprefix(_TABLES).partition("/")[0].partition("-")[2]

    @property
    def file(self) -> str | None:
        """The path in the data folder that it is the file of.

        Raises:
            BackupError: that lies elsewhere.
        """
        if not self.name.startswith(_FILES):
            return None
        relative = self.name.removeprefix(_FILES)
        parts = PurePosixPath(relative).parts
        if not parts or relative.startswith("/") or ".." in parts or "\x00" in relative:
            raise BackupError(f"{self._path} holds a file with the path {relative!r}, which no backup has")
        return relative

    def rows(self) -> list[PortableRow]:
        """The rows of a part of a table.

        Raises:
            BackupError: it holds something else.
        """

        try:
            data = zlib.decompress(self.data(), wbits=31)
            return msgspec.msgpack.decode(data, type=list[tuple[Any, ...]])
        except (msgspec.MsgspecError, zlib.error, ValueError) as error:
            raise BackupError(f"{self._path} is damaged: {self.name} cannot be read") from error


def _cut(path: Path) -> BackupError:
    return BackupError(f"{path} is cut short or damaged: take another backup")


def members(path: Path) -> Iterator[Member]:
    """The members of an archive in the order in which they were written; each is at hand until the next.

    Raises:
        BackupError: it is no backup, or ends too early.
        OSError: it cannot be opened.
    """
    with path.open("rb") as stream:
        try:
            with tarfile.open(fileobj=stream, mode="r|") as tar:
                for place, info in enumerate(tar):
                    if place == 0 and info.name != HEAD:
                        raise BackupError(f"{path} is no backup of LoRA Manager")
                    content = tar.extractfile(info) if info.isreg() else None
                    if content is None:
                        raise BackupError(f"{path} is damaged: {info.name} is no file")
                    yield Member(path, info.name, content, info.size)
                    # Otherwise it keeps a record of each of a hundred thousand pictures.
                    getattr(tar, "members", []).clear()
        except tarfile.TarError as error:
            if stream.tell() <= tarfile.RECORDSIZE:
                raise BackupError(f"{path} is no backup of LoRA Manager, or is damaged at its beginning") from error
            raise _cut(path) from error


def head_of(path: Path) -> Head:
    """What a backup says of itself; reads no more of it.

    Raises:
        BackupError: it is none.
    """
    for member in members(path):
        return Head.decode(member.data(), path)
    raise BackupError(f"{path} is no backup of LoRA Manager")


@dataclass(frozen=True, slots=True)
class Checked:
    """A backup of which every byte is as it was written."""

    path: Path
    head: Head
    manifest: Manifest
    size: int


def check(path: Path) -> Checked:
    """Read a whole backup and compare every member and every table with the manifest.

    Raises:
        BackupError: it is no backup, not whole, or not as it was written.
    """
    found: dict[str, list[Any]] = {}
    head: Head | None = None
    digests: dict[str, TableDigest] = {}
    texts: dict[str, bytes] = {}
    for member in members(path):
        if head is None:
            head = Head.decode(member.data(), path)
            digests = {shape.name: TableDigest(shape) for shape in head.shapes}
        elif member.name in {MANIFEST, SEAL}:
            if member.size > _LARGEST_TEXT:
                raise _cut(path)
            texts[member.name] = member.data()
        elif member.table is not None:
            _add_rows(path, digests, member)
        elif member.file is None:
            raise BackupError(f"{path} is damaged: nothing is known of {member.name}")
        found[member.name] = member.digest()
    if head is None or MANIFEST not in texts or SEAL not in texts:
        raise _cut(path)
    manifest = _manifest(path, texts)
    _compare(path, manifest, found, digests)
    return Checked(path, head, manifest, path.stat().st_size)


def _add_rows(path: Path, digests: dict[str, TableDigest], member: Member) -> None:
    digest = digests.get(member.table or "")
    if digest is None:
        raise BackupError(f"{path} is damaged: nothing is known of {member.name}")
    try:
        for row in member.rows():
            digest.add(row)
    except (IndexError, TypeError, ValueError) as error:
        raise BackupError(f"{path} is damaged: {member.name} holds no rows of {member.table}") from error


def _manifest(path: Path, texts: dict[str, bytes]) -> Manifest:
    if texts[SEAL] != blake3(texts[MANIFEST]).hexdigest().encode():
        raise BackupError(f"{path} is damaged: its manifest was changed")
    value = json.loads(texts[MANIFEST])
    return Manifest(value["members"], value["tables"], value["sequences"])


def _compare(path: Path, manifest: Manifest, found: dict[str, list[Any]], digests: dict[str, TableDigest]) -> None:
    for name in (MANIFEST, SEAL):
        found.pop(name)
    if different := sorted(
        name for name in found.keys() | manifest.members.keys() if found.get(name) != manifest.members.get(name)
    ):
        raise BackupError(f"{path} is damaged: {different[0]} is not as it was written ({len(different)} in all)")
    for name, digest in digests.items():
        if manifest.tables.get(name) != [digest.rows, digest.hexadecimal]:
            raise BackupError(f"{path} is damaged: the table {name} is not as it was written")
