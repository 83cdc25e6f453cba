"""Which files of a data folder belong into a backup: all that nothing else can make again, known to us or not.

What is left out is named one by one, so that a file of keys which an operator keeps there is not forgotten.
"""

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from warehouse.backup.archive import HEAD

BACKUP_NAME = re.compile(r"lora-manager-\d{8}T\d{6}Z\.tar")
"""Backups that were named by us; others are never removed."""
STAGING = ".restoring-"
ASIDE = "before-restore-"
DATABASE = ("warehouse.sqlite3", "warehouse.sqlite3-wal", "warehouse.sqlite3-shm", "warehouse.sqlite3-journal")
DERIVED = frozenset({"generations", "analytics", "models", "logs", "run", "dagster"})
"""Publications and exported models are made again, all but a tuned encoder; what a process wrote of itself is of no use
to another."""
DAGSTER_CONFIGURATION = "dagster/dagster.yaml"
"""May be the operator's own; ours is written anew where it is not what the settings say."""
SAMPLE = "sample-library"
_BEGINNING = HEAD.encode() + b"\0"
"""Of a backup: the name of its first member."""
_PICTURES = frozenset({".png", ".jpg", ".jpeg", ".webp"})
"""What a hundred thousand files of a data folder may be."""
_BY_CONTENT = frozenset({"pictures", "attachments"})


@dataclass(frozen=True, slots=True)
class Kept:
    """A file of the data folder."""

    name: str
    """Its path in the data folder, with slashes."""
    path: Path


def kept_files(data_dir: Path, *, without: Iterable[Path], derived: Iterable[Path] = ()) -> Iterator[Kept]:
    """The files that belong into a backup, folder by folder.

    Args:
        without: files and folders that do not: backups, libraries.
        derived: folders of what is made again which do all the same.

    Raises:
        OSError: a folder cannot be listed, so what is in it would be missing.
    """
    left_out = {path.resolve() for path in without}
    for folder in derived:
        yield from _below(folder, data_dir, left_out)
    if (configuration := data_dir / DAGSTER_CONFIGURATION).is_file():
        yield Kept(DAGSTER_CONFIGURATION, configuration)
    for top in sorted(data_dir.iterdir()) if data_dir.is_dir() else ():
        if top.name in DERIVED or top.name in DATABASE or top.name.startswith((STAGING, ASIDE)):
            continue
        # The folder of pictures may be a link to a larger disk; within it links lead where they like.
        if top.is_dir():
            yield from _below(top, data_dir, left_out)
        elif _belongs(top, left_out):
            yield Kept(top.name, top)


def _belongs(path: Path, left_out: set[Path]) -> bool:
    return path.is_file() and path.resolve() not in left_out and not _is_backup(path)


def _is_backup(path: Path) -> bool:
    """Whether a file is a backup, whatever it is called, or becomes one: each would hold all before it."""
    if path.suffix in _PICTURES:
        return False
    try:
        with path.open("rb") as stream:
            return stream.read(len(_BEGINNING)) == _BEGINNING
    except FileNotFoundError:
        # Deleted since the folder was listed.
        return True


def _below(top: Path, data_dir: Path, left_out: set[Path]) -> Iterator[Kept]:
    for folder, folders, names in os.walk(top, onerror=_unless_gone):
        here = Path(folder)
        if here.resolve() in left_out:
            folders.clear()
            continue
        folders.sort()
        for name in sorted(names):
            path = here / name
            # A file that begins with a dot is one that is just being written there.
            if path.is_symlink() or (top.name in _BY_CONTENT and name.startswith(".")):
                continue
            if _belongs(path, left_out):
                yield Kept(path.relative_to(data_dir).as_posix(), path)


def _unless_gone(error: OSError) -> None:
    """A folder that was deleted since it was seen held nothing that anybody needs."""
    if not isinstance(error, FileNotFoundError):
        raise error
