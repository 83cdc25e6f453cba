"""Which folders make the library: given, configured and registered ones, checked before anything is walked.

Does not belong here: the walk.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, insert, select

from warehouse.engine import Database
from warehouse.ingest.walk import Obstacle, outermost
from warehouse.models import Root, utc_now
from warehouse.settings import Settings
from warehouse.storage import ExtraMissingError, LibraryRoot, StoreUrl, bucket_of, root_at


class LibraryError(ValueError):
    """There is nothing that could be scanned. The message says which folder, why, and what to do."""


@dataclass(frozen=True, slots=True)
class LibraryRoots:
    """Folders to walk, none inside another one, and those that are known but cannot be walked now."""

    walkable: list[LibraryRoot]
    obstacles: list[Obstacle]


def registered(connection: Connection) -> list[LibraryRoot]:
    """The folders of earlier syncs."""
    return [root_at(path) for path in connection.execute(select(Root.path).order_by(Root.path)).scalars()]


def choose(database: Database, settings: Settings, given: Sequence[LibraryRoot] | None) -> LibraryRoots:
    """The folders to walk.

    Raises:
        LibraryError: a given folder is none, or no folder is known, or none of the known ones is there.
    """
    if given:
        return LibraryRoots(outermost([_checked(path, settings) for path in given]), [])
    with database.read() as connection:
        known = {*settings.library_roots, *registered(connection)}
    if not known:
        raise LibraryError(
            "no library folder is known: name one (`lora-manager sync PATH`) or set LORA_MANAGER_LIBRARY_ROOTS"
        )
    walkable, obstacles = [], []
    for path in sorted(known, key=str):
        try:
            walkable.append(_checked(path, settings))
        except LibraryError as error:
            obstacles.append(Obstacle("root_not_there", str(path), f"{error}. What is known of it stays as it was."))
    if not walkable:
        raise LibraryError("; ".join(obstacle.message for obstacle in obstacles))
    return LibraryRoots(outermost(walkable), obstacles)


def _checked(root: LibraryRoot, settings: Settings) -> LibraryRoot:
    return _reached(root, settings) if isinstance(root, StoreUrl) else _folder(root)


def _reached(root: StoreUrl, settings: Settings) -> StoreUrl:
    try:
        bucket_of(root.bucket, settings.library_access).probe(root.prefix)
    except ExtraMissingError as error:
        raise LibraryError(f"{root} cannot be read: {error}") from None
    except OSError as error:
        where = settings.library_s3_endpoint or "AWS"
        raise LibraryError(
            f"{root} cannot be listed at {where} ({error.strerror}): check the address, the bucket and that the "
            "credentials may list it (LORA_MANAGER_LIBRARY_S3_…)"
        ) from error
    return root


def _folder(path: Path) -> Path:
    folder = path.expanduser().absolute()
    try:
        folder = folder.resolve()
        str(folder).encode("utf-8")
        is_folder, exists = folder.is_dir(), folder.exists()
    except UnicodeEncodeError:
        raise LibraryError(f"{path!r} is no library folder: its name is not valid UTF-8; rename it") from None
    except (OSError, RuntimeError, ValueError) as error:
        raise LibraryError(f"{path} cannot be opened ({error}): check the path and its permissions") from error
    if not exists:
        raise LibraryError(f"{path} does not exist: check the path, or mount the disk it is on")
    if not is_folder:
        raise LibraryError(f"{path} is a file, not a folder: name the folder it lies in")
    return folder


def register(connection: Connection, paths: Sequence[LibraryRoot]) -> dict[str, int]:
    """Make sure that each folder has its row; the numbers by path."""
    known = dict(connection.execute(select(Root.path, Root.pk)).all())
    for path in paths:
        if str(path) not in known:
            known[str(path)] = connection.execute(
                insert(Root).values(path=str(path), created_at=utc_now()).returning(Root.pk)
            ).scalar_one()
    return {str(path): known[str(path)] for path in paths}
