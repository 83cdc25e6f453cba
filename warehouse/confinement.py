"""Users' files are opened below the library roots and nowhere else, whatever a stored path or a link says.

Belongs here: which folders are roots, whether a path lies below one, opening a file there. Does not: what is in a file,
and the walk over whole libraries (`warehouse.ingest`), which follows what its user linked.

The check and the opening are one: the real path is opened folder by folder from its root, each step refusing links, so
that nothing which is exchanged in between leads elsewhere. A pipe, a device or a folder is refused before it is opened.
A hard link is the file itself: who can make one inside a library could as well have put the file there.
"""

import errno
import io
import os
import stat
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, select

from warehouse.models import Root
from warehouse.settings import Settings
from warehouse.storage import LibraryRoot, StoreUrl, root_at

_FOLDER = os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC | getattr(os, "O_PATH", os.O_RDONLY)
# A pipe that took the file's place a moment ago would block for ever without O_NONBLOCK.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class ConfinementError(ValueError):
    """A path cannot be used. The message says why and names no path but the one that was given."""


class OutsideRootsError(ConfinementError):
    """The path, or what it is a link to, lies below no library root."""


class NoFileError(ConfinementError):
    """There is no regular file at the path."""


@dataclass(frozen=True, slots=True)
class OpenedFile:
    """A regular file below a root, open for reading; whoever holds it closes the stream."""

    path: Path
    """Its real path."""
    stream: io.FileIO
    status: os.stat_result


def library_roots(connection: Connection, settings: Settings) -> list[LibraryRoot]:
    """The configured library roots, and those of earlier syncs."""
    registered = connection.execute(select(Root.path).order_by(Root.path)).scalars()
    return list(dict.fromkeys([*settings.library_roots, *(root_at(path) for path in registered)]))


def require_under_roots(path: str, roots: Iterable[LibraryRoot]) -> None:
    """See that an object of a store lies below a root in it. Keys are taken as they stand: no part of one leads up.

    Raises:
        OutsideRootsError: it lies below none.
    """
    if not any(isinstance(root, StoreUrl) and path.startswith(f"{root}/") for root in roots):
        raise OutsideRootsError(f"{path} lies below no library root")


def resolve_under_roots(path: Path, roots: Iterable[LibraryRoot]) -> Path:
    """The real path of an existing file or folder, free of links, which lies below the real path of a root.

    Raises:
        NoFileError: nothing is there, or it cannot be reached.
        OutsideRootsError: it is elsewhere; also where there are no roots.
    """
    return _locate(path, roots)[1]


def _locate(path: Path, roots: Iterable[LibraryRoot]) -> tuple[Path, Path]:
    """(the real path of the root, the real path of what lies below it)."""
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError, ValueError) as error:
        raise NoFileError(f"there is nothing that could be opened at {path}") from error
    for root in roots:
        if isinstance(root, StoreUrl):
            continue
        try:
            folder = root.resolve(strict=True)
        except (OSError, RuntimeError, ValueError):
            continue
        if real.is_relative_to(folder):
            return folder, real
    raise OutsideRootsError(
        f"{path} does not lie in a library folder, or is a link to outside of them: name the folder that it really "
        "lies in with LORA_MANAGER_LIBRARY_ROOTS"
    )


def open_under_roots(path: Path, roots: Iterable[LibraryRoot]) -> OpenedFile:
    """The regular file at a path, opened.

    Raises:
        NoFileError: no regular file is there, or it cannot be read.
        OutsideRootsError: it lies below no root.
    """
    folder, real = _locate(path, roots)
    try:
        descriptor = _open_below(folder, real.relative_to(folder).parts)
    except OSError as error:
        raise NoFileError(f"{path} cannot be opened: {os.strerror(error.errno or errno.EIO)}") from error
    return OpenedFile(real, io.FileIO(descriptor, "rb"), os.fstat(descriptor))


def _open_below(root: Path, parts: tuple[str, ...]) -> int:
    """A descriptor of a regular file, reached from a folder through folders that are no links."""
    if not parts:
        raise OSError(errno.EISDIR, "the root itself")
    folder = os.open(root, _FOLDER)
    try:
        for part in parts[:-1]:
            inner = os.open(part, _FOLDER, dir_fd=folder)
            os.close(folder)
            folder = inner
        _require_file(os.stat(parts[-1], dir_fd=folder, follow_symlinks=False))
        descriptor = os.open(parts[-1], _FILE, dir_fd=folder)
    finally:
        os.close(folder)
    try:
        _require_file(os.fstat(descriptor))
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _require_file(status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EISDIR if stat.S_ISDIR(status.st_mode) else errno.ENODEV, "no regular file")
