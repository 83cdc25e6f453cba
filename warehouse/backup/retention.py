"""Backups that are made every day, and the end of old ones. What was not made here is left alone."""

from contextlib import suppress
from pathlib import Path

from warehouse.backup import BackupError
from warehouse.backup.archive import head_of
from warehouse.backup.contents import BACKUP_NAME


def backups(folder: Path) -> list[Path]:
    """The backups of a folder, oldest first: files that bear a name of ours and are what it says."""
    named = (path for path in folder.iterdir() if BACKUP_NAME.fullmatch(path.name)) if folder.is_dir() else ()
    return sorted(path for path in named if path.is_file() and not path.is_symlink() and _is_ours(path))


def _is_ours(path: Path) -> bool:
    with suppress(BackupError, OSError):
        head_of(path)
        return True
    return False


def prune_backups(folder: Path, keep: int) -> list[Path]:
    """Delete all but the newest; returns those that are gone."""
    old = backups(folder)[: -max(keep, 1)]
    for path in old:
        path.unlink(missing_ok=True)
    return old
