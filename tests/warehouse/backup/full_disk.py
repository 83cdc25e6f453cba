"""A backup or its restoration on a disk that is as good as full: no file grows beyond some bytes.

`python -m tests.warehouse.backup.full_disk backup|restore DATA_DIR FILE BYTES`
"""

import resource
import sys
from pathlib import Path

from warehouse.backup import BackupError
from warehouse.backup.making import make_backup
from warehouse.backup.restoring import restore_backup
from warehouse.engine import open_database
from warehouse.settings import Settings


def main() -> None:
    """Do it, and say what went wrong."""
    what, data_dir, file, size = sys.argv[1:]
    settings = Settings(_env_file=None, data_dir=Path(data_dir))
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(size), resource.RLIM_INFINITY))
    try:
        if what == "backup":
            make_backup(open_database(settings), settings, Path(file))
        else:
            restore_backup(settings, Path(file), replace=True)
    except BackupError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
