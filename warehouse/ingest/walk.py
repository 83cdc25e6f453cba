"""The walk over library folders: every file that matters, and everything that could not be looked at.

Belongs here: the file system's oddities (links, loops, permissions, names that are no text). Does not: the database.
Memory is bounded by the number of folders, never of files.
"""

import os
import stat
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from msgspec import Struct

from warehouse.ingest.elements import ElementKind, civitdl_key, classify, is_foreign_folder
from warehouse.ingest.listing import Listed, StoreListing
from warehouse.storage import Access, LibraryRoot, StoreUrl


class Entry(Struct, frozen=True, gc=False):
    """One file of a library. Previews are not looked at, so their `size` and `mtime_ns` are 0."""

    kind: ElementKind
    directory: str
    stem: str
    path: str
    size: int
    mtime_ns: int
    inode: int
    rank: int
    civitdl_key: str | None


@dataclass(frozen=True, slots=True)
class Obstacle:
    """Something the walk could not take."""

    code: str
    path: str
    message: str

    @property
    def hides(self) -> bool:
        """Whether there may be files at or below `path` all the same, so that nothing there counts as vanished."""
        return self.code not in ("broken_link", "name_not_text")


@dataclass(slots=True)
class Walk:
    """One walk over several roots; `entries()` is to be consumed once, then `obstacles` and `counts` are complete."""

    roots: Sequence[LibraryRoot]
    excluded: frozenset[str] = frozenset()
    """Folders that are never entered: the project's own data."""
    access: Access = field(default_factory=Access)
    """How roots in stores are reached."""
    obstacles: list[Obstacle] = field(default_factory=list)
    found: dict[str, int] = field(default_factory=dict)
    """Weights and documents by root."""
    signatures: dict[str, str] = field(default_factory=dict)
    """Of roots in stores: what their listing came to, which would cost as many requests again."""
    _visited: set[tuple[int, int]] = field(default_factory=set)

    def entries(self) -> Iterator[Entry]:
        """Every weight, document and preview. A folder that links lead to twice is walked once, by its real name."""
        links: deque[tuple[str, str]] = deque()
        for root in self.roots:
            self.found[str(root)] = 0
            if isinstance(root, StoreUrl):
                yield from self._stored(root)
            else:
                yield from self._folders(str(root), str(root), links)
        while links:
            root_path, link = links.popleft()
            yield from self._folders(root_path, link, links)

    def _folders(self, root: str, top: str, links: deque[tuple[str, str]]) -> Iterator[Entry]:
        pending = [top]
        while pending:
            folder = pending.pop()
            if not self._enter(folder):
                continue
            children: list[str] = []
            for entry in self._listing(folder):
                name = self._text(folder, entry.name)
                if name is None:
                    continue
                if _is_folder(entry):
                    if not is_foreign_folder(name):
                        (links.append((root, entry.path)) if entry.is_symlink() else children.append(entry.path))
                    continue
                found = self._file(folder, name, entry)
                if found is not None:
                    self.found[root] += found.kind is not ElementKind.PREVIEW
                    yield found
            pending.extend(sorted(children, reverse=True))

    def _stored(self, root: StoreUrl) -> Iterator[Entry]:
        listing = StoreListing(root, self.access)
        for listed in listing.files():
            found = _of_store(listed)
            if found is not None:
                self.found[str(root)] += found.kind is not ElementKind.PREVIEW
                yield found
        self.signatures[str(root)] = listing.signature
        for folder, reason in listing.unread:
            self.obstacles.append(
                Obstacle(
                    "folder_unreadable",
                    folder,
                    f"{folder}: what lies there cannot be listed ({reason}). What is known of it stays as it was; see "
                    "that the store can be reached and that each key is a path, then sync again.",
                )
            )

    def _enter(self, folder: str) -> bool:
        """Whether a folder is new to this walk; loops end here."""
        if folder in self.excluded:
            return False
        try:
            status = os.stat(folder)  # noqa: PTH116 - a million of these: no Path object for each
        except OSError as error:
            self._refuse("folder_unreadable", folder, error)
            return False
        key = (status.st_dev, status.st_ino)
        if key in self._visited:
            return False
        self._visited.add(key)
        return True

    def _listing(self, folder: str) -> Iterator["os.DirEntry[str]"]:
        try:
            with os.scandir(folder) as listing:
                yield from listing
        except OSError as error:
            self._refuse("folder_unreadable", folder, error)

    def _text(self, folder: str, name: str) -> str | None:
        """The name, if it is text at all."""
        if name.isascii():
            return name
        try:
            name.encode("utf-8")
        except UnicodeEncodeError:
            shown = os.fsencode(os.path.join(folder, name)).decode("utf-8", "backslashreplace")  # noqa: PTH118
            self.obstacles.append(
                Obstacle(
                    "name_not_text",
                    shown,
                    f"{shown}: the name is not valid UTF-8, so the file is skipped. Rename it, for example with "
                    "`convmv -f latin1 -t utf8`, and sync again.",
                )
            )
            return None
        return name

    def _file(self, folder: str, name: str, entry: "os.DirEntry[str]") -> Entry | None:
        element = classify(name)
        if element is None:
            return None
        if element.kind is ElementKind.PREVIEW:
            return Entry(element.kind, folder, element.stem, entry.path, 0, 0, 0, element.rank, None)
        try:
            status = entry.stat()
        except FileNotFoundError:
            if entry.is_symlink():
                self.obstacles.append(
                    Obstacle(
                        "broken_link",
                        entry.path,
                        f"{entry.path}: the link leads nowhere. Restore what it points to, or remove the link.",
                    )
                )
            return None
        except OSError as error:
            self._refuse("file_unreadable", entry.path, error)
            return None
        if not stat.S_ISREG(status.st_mode):
            return None
        # Inode numbers are unsigned, the database's integers are not.
        inode = status.st_ino if status.st_ino < 2**63 else status.st_ino - 2**64
        return Entry(
            element.kind,
            folder,
            element.stem,
            entry.path,
            status.st_size,
            status.st_mtime_ns,
            inode,
            element.rank,
            civitdl_key(folder, name, element.kind),
        )

    def _refuse(self, code: str, path: str, error: OSError) -> None:
        what = "folder" if code.startswith("folder") else "file"
        self.obstacles.append(
            Obstacle(
                code,
                path,
                f"{path}: the {what} cannot be read ({error.strerror or type(error).__name__}). What is known of it "
                "stays as it was; give the account that runs the sync access, then sync again.",
            )
        )


def _of_store(listed: Listed) -> Entry | None:
    element = classify(listed.name)
    if element is None:
        return None
    if element.kind is ElementKind.PREVIEW:
        return Entry(element.kind, listed.directory, element.stem, listed.path, 0, 0, 0, element.rank, None)
    return Entry(
        element.kind,
        listed.directory,
        element.stem,
        listed.path,
        listed.object.size,
        listed.object.mtime_ns,
        listed.object.inode,
        element.rank,
        civitdl_key(listed.directory, listed.name, element.kind),
    )


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    try:
        return entry.is_dir()
    except OSError:
        return False


def outermost(roots: Iterable[LibraryRoot]) -> list[LibraryRoot]:
    """The roots without those that lie inside another one, sorted."""
    kept: list[LibraryRoot] = []
    for root in sorted(set(roots), key=lambda root: (str(root).count("/"), str(root))):
        if not any(_lies_in(root, other) for other in kept):
            kept.append(root)
    return sorted(kept, key=str)


def _lies_in(root: LibraryRoot, other: LibraryRoot) -> bool:
    if isinstance(root, StoreUrl):
        return root.is_relative_to(other)
    return isinstance(other, Path) and root.is_relative_to(other)
