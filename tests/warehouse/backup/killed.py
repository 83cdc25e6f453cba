"""A restoration in a process of its own that kills itself with SIGKILL when it says that it begins with something.

`python -m tests.warehouse.backup.killed DATA_DIR URL FILE WORDS`
"""

import os
import signal
import sys
from pathlib import Path

from warehouse.backup.restoring import restore_backup
from warehouse.settings import Settings


def main() -> None:
    """Restore in the place of what is there, until then."""
    data_dir, url, file, words = sys.argv[1:]

    def say(what: str) -> None:
        if what == words:
            os.kill(os.getpid(), signal.SIGKILL)

    restore_backup(
        Settings(_env_file=None, data_dir=Path(data_dir), database_url=url), Path(file), replace=True, say=say
    )


if __name__ == "__main__":
    main()
