"""Library folders as arguments: checked before anything is started for them."""

from collections.abc import Iterable
from pathlib import Path

from serving.cli.errors import CommandError, Exit


def existing_folders(paths: Iterable[Path]) -> list[Path]:
    """The folders, absolute and each once.

    Raises:
        CommandError: one of them does not exist or is no folder.
    """
    folders = []
    for path in paths:
        folder = path.expanduser().resolve()
        if not folder.is_dir():
            what = "is not a folder" if folder.exists() else "does not exist"
            raise CommandError(f"{folder} {what}: name the folder that holds the LoRA files", Exit.USAGE)
        folders.append(folder)
    return list(dict.fromkeys(folders))
