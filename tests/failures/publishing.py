"""A publication in a process of its own that is killed by SIGKILL at its N-th step, or prints how many steps there are.

    python -m tests.failures.publishing DATA_DIR URL KIND [N]

A step is a statement, a commit, or a call that changes what lies below the published files.
"""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import event

from warehouse.engine import connect
from warehouse.lexical.publishing import publish_words
from warehouse.marts import export_marts
from warehouse.settings import Settings
from warehouse.vectors import publish_index

KINDS = ("indices/recommend", "indices/lexical", "marts/analytics")
_CHANGES = {"open", "os.mkdir", "os.rename", "os.link", "os.symlink", "os.remove", "os.rmdir", "os.chmod"}


def main() -> None:
    """Publish a kind anew, whether or not anything changed."""
    data_dir, url, kind, *victim = sys.argv[1:]
    settings = Settings(_env_file=None, data_dir=Path(data_dir))
    database = connect(url)
    steps = 0
    limit = int(victim[0]) if victim else 0

    def step(*_: Any) -> None:
        nonlocal steps
        steps += 1
        if steps == limit:
            os.kill(os.getpid(), signal.SIGKILL)

    def audited(name: str, arguments: tuple[Any, ...]) -> None:
        if name in _CHANGES and any(isinstance(each, str) and each.startswith(below) for each in arguments[:2]):
            step()

    below = (str(settings.generations_dir), str(settings.data_dir / "analytics"))
    event.listen(database.engine, "before_cursor_execute", step)
    event.listen(database.engine, "commit", step)
    sys.addaudithook(audited)
    publish: dict[str, Callable[[], object]] = {
        "indices/recommend": lambda: publish_index(database, settings, force=True),
        "indices/lexical": lambda: publish_words(database, settings, force=True),
        "marts/analytics": lambda: export_marts(database, settings),
    }
    publish[kind]()
    print(steps)


if __name__ == "__main__":
    main()
