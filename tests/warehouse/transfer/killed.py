"""A copy in a process of its own that kills itself with SIGKILL at a given statement of the target.

`python -m tests.warehouse.transfer.killed SOURCE TARGET [STATEMENT]` prints how many statements the target got.
"""

import os
import signal
import sys
from typing import Any

from sqlalchemy import event

from warehouse.engine import connect
from warehouse.transfer import copying


def main() -> None:
    """Copy in small chunks, so that small tables have many."""
    source, target = (connect(url) for url in sys.argv[1:3])
    limit = int(sys.argv[3]) if len(sys.argv) > 3 else 0
    copying.CHUNK_ROWS = 5
    counted = 0

    @event.listens_for(target.engine, "before_cursor_execute")
    def _count(*_: Any) -> None:
        nonlocal counted
        counted += 1
        if counted == limit:
            os.kill(os.getpid(), signal.SIGKILL)

    copying.copy_database(source, target)
    print(counted)


if __name__ == "__main__":
    main()
