"""A sync in a process of its own that kills itself with SIGKILL at a given statement of a given stage.

`python -m tests.warehouse.ingest.killed DATA_DIR URL ROOT [STAGE STATEMENT | disk BYTES]` prints how many statements
each stage ran; with `disk` it works on a disk that is full at so many bytes.
"""

import json
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import event

from warehouse.engine import connect
from warehouse.ingest import (
    StageReport,
    adapters,
    build_adapters,
    documents,
    inspect_files,
    inspections,
    read_documents,
    scan,
    scan_library,
)
from warehouse.settings import Settings


def main() -> None:
    """Run the stages in small chunks, so that a small library has many."""
    data_dir, url, root, *victim = sys.argv[1:]
    for module, name, value in (
        (scan, "CHUNK", 7),
        (documents, "_BATCH_DOCUMENTS", 2),
        (documents, "_COMMIT_DOCUMENTS", 5),
        (adapters, "_LOAD_BUNDLES", 6),
        (adapters, "_BATCH_BUNDLES", 2),
        (adapters, "_COMMIT_BUNDLES", 5),
        (inspections, "_COMMIT_FILES", 3),
    ):
        assert hasattr(module, name)
        setattr(module, name, value)
    settings = Settings(_env_file=None, data_dir=Path(data_dir), ingest_workers=1)
    if victim and victim[0] == "disk":
        # As good as a full disk: no file grows beyond this.
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(victim[1]), resource.RLIM_INFINITY))
    database = connect(url)
    counted = 0
    limit = 0

    @event.listens_for(database.engine, "before_cursor_execute")
    def _count(*_: Any) -> None:
        nonlocal counted
        counted += 1
        if counted == limit:
            os.kill(os.getpid(), signal.SIGKILL)

    stages: dict[str, Callable[[], StageReport]] = {
        "files": lambda: scan_library(database, settings, [Path(root)]),
        "documents": lambda: read_documents(database, settings),
        "adapters": lambda: build_adapters(database, settings),
        "inspections": lambda: inspect_files(database, settings),
    }
    statements = {}
    for stage, run in stages.items():
        counted, limit = 0, int(victim[1]) if victim and victim[0] == stage else 0
        run()
        statements[stage] = counted
    print(json.dumps(statements))


if __name__ == "__main__":
    main()
