"""A cheap signature of the library's folders: another value when a file was added, removed or renamed.

It looks at folders only, never at their files: a file that is edited in place changes no folder, and is found by the
`sweep`. Does not belong here: the comparison itself (`staging`).
"""

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path

from warehouse.ingest.elements import is_foreign_folder
from warehouse.ingest.walk import outermost
from warehouse.settings import Settings

MAX_FOLDERS = 20_000
"""Folders beyond these are not looked at."""

# A folder whose time has not changed has the children it had: a process that asks again lists only what changed.
_children: dict[str, tuple[int, tuple[str, ...]]] = {}


def library_signature(settings: Settings, roots: Sequence[Path]) -> str:
    """The signature of some roots; those configured where none are given. Missing folders are part of it."""
    digest = hashlib.blake2b(digest_size=16)
    pending = [str(root.expanduser().resolve()) for root in outermost(roots or settings.library_roots)][::-1]
    visited: set[tuple[int, int]] = set()
    own = str(settings.data_dir)
    while pending and len(visited) < MAX_FOLDERS:
        folder = pending.pop()
        if folder == own:
            continue
        try:
            status = os.stat(folder)  # noqa: PTH116 - thousands of these
        except OSError as error:
            digest.update(f"{folder!a}\0{error.errno}\n".encode())
            continue
        if (status.st_dev, status.st_ino) in visited:
            continue
        visited.add((status.st_dev, status.st_ino))
        digest.update(f"{folder!a}\0{status.st_mtime_ns}\n".encode())
        pending.extend(reversed(_children_of(folder, status.st_mtime_ns)))
    return digest.hexdigest()


def _children_of(folder: str, mtime_ns: int) -> tuple[str, ...]:
    known = _children.get(folder)
    if known is not None and known[0] == mtime_ns:
        return known[1]
    try:
        with os.scandir(folder) as listing:
            children = tuple(
                sorted(entry.path for entry in listing if not is_foreign_folder(entry.name) and _is_folder(entry))
            )
    except OSError:
        children = ()
    if len(_children) >= MAX_FOLDERS:
        _children.clear()
    _children[folder] = (mtime_ns, children)
    return children


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False
