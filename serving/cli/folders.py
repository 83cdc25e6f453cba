"""Library roots as arguments: folders are checked before anything is started for them, stores by the sync."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from serving.cli.errors import CommandError, Exit

if TYPE_CHECKING:
    from warehouse.storage import LibraryRoot


def existing_roots(named: Iterable[str]) -> list["LibraryRoot"]:
    """The roots, folders absolute, and each once.

    Raises:
        CommandError: one of them is no place in a store, or does not exist or is no folder.
    """
    from warehouse.storage import StoreUrl, root_at

    roots: list[LibraryRoot] = []
    for name in named:
        try:
            root = root_at(name)
        except ValueError as error:
            raise CommandError(str(error), Exit.USAGE) from None
        roots.append(root if isinstance(root, StoreUrl) else _existing_folder(root))
    return list(dict.fromkeys(roots))


def _existing_folder(path: Path) -> Path:
    folder = path.expanduser().resolve()
    if not folder.is_dir():
        what = "is not a folder" if folder.exists() else "does not exist"
        raise CommandError(f"{folder} {what}: name the folder that holds the LoRA files", Exit.USAGE)
    return folder
