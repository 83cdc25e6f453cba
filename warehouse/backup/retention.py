"""Backups that are made every day, and the end of old ones. What was not made here is left alone."""

import re
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from warehouse.backup import BackupError
from warehouse.backup.archive import head_of
from warehouse.backup.contents import BACKUP_NAME
from warehouse.models import utc_now

_PARTIAL = re.compile(rf"\.{BACKUP_NAME.pattern}\.\d+")
"""What `making` writes under another name until it is whole."""
_ABANDONED_AFTER = timedelta(hours=24)


def backups(folder: Path) -> list[Path]:
    """The backups of a folder, oldest first: files that bear a name of ours and are what it says."""
    named = (path for path in folder.iterdir() if BACKUP_NAME.fullmatch(path.name)) if folder.is_dir() else ()
    return sorted(path for path in named if path.is_file() and not path.is_symlink() and _is_ours(path))


def made_at(path: Path) -> datetime:
    """When a backup of `backups` was made, as its name says."""
    return datetime.strptime(path.name, "lora-manager-%Y%m%dT%H%M%SZ.tar").replace(tzinfo=UTC)


def _is_ours(path: Path) -> bool:
    with suppress(BackupError, OSError):
        head_of(path)
        return True
    return False


def prune_backups(folder: Path, keep: int) -> list[Path]:
    """Delete all but the newest, and what was half written a day ago by a process that died; returns what is gone."""
    horizon = (utc_now() - _ABANDONED_AFTER).timestamp()
    old = backups(folder)[: -max(keep, 1)]
    old += [path for path in folder.iterdir() if _PARTIAL.fullmatch(path.name) and path.lstat().st_mtime < horizon]
    for path in old:
        path.unlink(missing_ok=True)
    return old
