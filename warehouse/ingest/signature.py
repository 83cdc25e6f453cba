"""A cheap signature of the library's folders: another value when a file was added, removed or renamed.

It looks at folders only, never at their files: a file that is edited in place changes no folder, and is found by the
`sweep`. A store knows no folders: its objects are listed, and because each thousand of them is a request, not each
time somebody asks. Does not belong here: the comparison itself (`staging`).
"""

import hashlib
import os
import time
from collections.abc import Mapping, Sequence
from typing import Final

from warehouse.ingest.elements import is_foreign_folder
from warehouse.ingest.listing import signature_of
from warehouse.ingest.walk import outermost
from warehouse.settings import Settings
from warehouse.storage import LibraryRoot, StoreUrl

MAX_FOLDERS = 20_000
"""Folders beyond these are not looked at."""

# A folder whose time has not changed has the children it had: a process that asks again lists only what changed.
_children: dict[str, tuple[int, tuple[str, ...]]] = {}

_SECONDS_PER_REQUEST: Final = 3.0
"""Of waiting for each request that a listing took: a million objects are listed once in 50 minutes."""
# A root in a store, with what its last listing came to and when it may be listed again.
_listings: dict[StoreUrl, tuple[float, str]] = {}


def library_signature(settings: Settings, roots: Sequence[LibraryRoot], listed: Mapping[str, str] | None = None) -> str:
    """The signature of some roots; those configured where none are given. Missing folders are part of it.

    Args:
        listed: what listings of roots in stores came to just now; others are listed, unless that was done lately.
    """
    digest = hashlib.blake2b(digest_size=16)
    chosen = outermost(roots or settings.library_roots)
    for root in chosen:
        if isinstance(root, StoreUrl):
            known = (listed or {}).get(str(root))
            digest.update(f"{root}\0{known or _listing_of(root, settings)}\n".encode())
    folders = [str(root.expanduser().resolve()) for root in chosen if not isinstance(root, StoreUrl)]
    _add_folders(digest, folders[::-1], str(settings.data_dir))
    return digest.hexdigest()


def _listing_of(root: StoreUrl, settings: Settings) -> str:
    not_before, signature = _listings.get(root, (0.0, ""))
    if not signature or time.monotonic() >= not_before:
        signature, requests = signature_of(root, settings.library_access)
        wait = max(
            settings.library_poll_seconds, requests * _SECONDS_PER_REQUEST if settings.library_poll_seconds else 0
        )
        _listings[root] = (time.monotonic() + wait, signature)
    return signature


def _add_folders(digest: "hashlib.blake2b", pending: list[str], own: str) -> None:
    visited: set[tuple[int, int]] = set()
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
