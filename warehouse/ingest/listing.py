"""What lies below a place in a store: its objects as a walk meets files, and a signature of all of them.

Belongs here: which keys stand for files of a library, and what is done about a key that no path can be made of. Does
not: the requests (`warehouse.storage`), what a file is to a library beyond its name (`walk`).
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from warehouse.ingest.elements import classify, is_foreign_folder
from warehouse.storage import Access, StoredObject, StoreUrl, UnlistableError, bucket_of


@dataclass(frozen=True, slots=True)
class Listed:
    """An object that is something to a library."""

    directory: str
    name: str
    path: str
    object: StoredObject


@dataclass(slots=True)
class StoreListing:
    """One listing of a root in a store; `files()` is to be consumed once, then the rest is complete."""

    root: StoreUrl
    access: Access
    unread: list[tuple[str, str]] = field(default_factory=list)
    """Folders that could not be listed, each with the reason."""
    requests: int = 0
    """About how many requests it took."""
    _digest: "hashlib.blake2b" = field(default_factory=lambda: hashlib.blake2b(digest_size=16))
    _foreign: dict[str, bool] = field(default_factory=dict)

    @property
    def signature(self) -> str:
        """Another value when an object was added, removed or replaced."""
        return self._digest.hexdigest()

    def files(self) -> Iterator[Listed]:
        """Every weight, document and preview. Failures are noted in `unread`, not raised."""
        try:
            for stored in self._objects():
                folder, _, name = stored.key.rpartition("/")
                if classify(name) is None or self._is_foreign(folder):
                    continue
                self._digest.update(f"{stored.key}\0{stored.size}\0{stored.mtime_ns}\0{stored.inode}\n".encode())
                directory = self.root.path_of(folder) if folder else str(StoreUrl(self.root.bucket))
                yield Listed(directory, name, self.root.path_of(stored.key), stored)
        except OSError as error:
            self._note(self.root.prefix, error)

    def _objects(self) -> Iterator[StoredObject]:
        bucket = bucket_of(self.root.bucket, self.access)
        last = b""
        try:
            for page in bucket.pages(self.root.prefix):
                self.requests += 1
                if page:
                    last = page[-1].key.encode()
                yield from page
        except UnlistableError:
            # The client gives up a whole listing for one key: folder by folder the others are found.
            yield from (stored for stored in self._folders() if stored.key.encode() > last)

    def _folders(self) -> Iterator[StoredObject]:
        bucket = bucket_of(self.root.bucket, self.access)
        pending = [self.root.prefix]
        while pending:
            prefix = pending.pop()
            self.requests += 1
            try:
                objects, folders = bucket.folder(prefix)
            except UnlistableError as error:
                self._note(prefix, error)
                continue
            yield from objects
            pending.extend(reversed(folders))

    def _note(self, prefix: str, error: OSError) -> None:
        self._digest.update(f"{prefix}\0{error.errno}\n".encode())
        folder = self.root.path_of(prefix) if prefix else str(StoreUrl(self.root.bucket))
        self.unread.append((folder, error.strerror or type(error).__name__))

    def _is_foreign(self, folder: str) -> bool:
        """Whether a folder lies in one that is no library, below the root."""
        known = self._foreign.get(folder)
        if known is None:
            below = folder[len(self.root.prefix) :].strip("/")
            known = bool(below) and any(is_foreign_folder(part) for part in below.split("/"))
            self._foreign[folder] = known
        return known


def signature_of(root: StoreUrl, access: Access) -> tuple[str, int]:
    """(the signature of a root, the requests that it took)."""
    listing = StoreListing(root, access)
    for _ in listing.files():
        pass
    return listing.signature, listing.requests
