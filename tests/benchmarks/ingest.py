"""How fast the ingest is, against a plain script that only reads the same files and calls json.loads; its memory.

`python -m tests.benchmarks.ingest [--documents 20000]` generates the documents, then measures in fresh processes: the
plain script, a cold sync, an unchanged one, and the peak memory (resident set of this process, and of its largest
worker as sampled once a second) of a cold sync of N and of N/10 documents. Wall time has the start of workers in
it, but not that of the process and its imports.
"""

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

ROUNDS = 3
"""Repetitions; the fastest counts, for a busy machine only ever adds time."""


def _plain(root: Path) -> dict[str, Any]:
    started = time.perf_counter()
    count = 0
    for path in root.rglob("*.json"):
        json.loads(path.read_bytes())
        count += 1
    return {"seconds": time.perf_counter() - started, "documents": count}


@contextmanager
def _watched_workers() -> Iterator[list[int]]:
    """The largest resident set of any child so far, in bytes.

    The system's own figure for children will not do: it counts what a child shared with us before it became a worker.
    """
    peak, over, own = [0], threading.Event(), psutil.Process()

    def watch() -> None:
        while not over.wait(1.0):
            for child in own.children():
                with suppress(psutil.Error):
                    if "warehouse.ingest.worker" in child.cmdline():
                        peak[0] = max(peak[0], child.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield peak
    finally:
        over.set()
        watcher.join()


def _sync(root: Path, data_dir: Path) -> dict[str, Any]:
    from warehouse import migrations
    from warehouse.engine import open_database
    from warehouse.ingest import build_adapters, inspect_files, read_documents, scan_library
    from warehouse.settings import Settings

    settings = Settings(_env_file=None, data_dir=data_dir)
    database = open_database(settings)
    migrations.upgrade(database)
    stages = {}
    with _watched_workers() as worker_peak:
        for kind in ("cold", "unchanged"):
            stages[kind] = [
                round(report.seconds, 3)
                for report in (
                    scan_library(database, settings, [root]),
                    read_documents(database, settings),
                    build_adapters(database, settings),
                    inspect_files(database, settings),
                )
            ]
    own, workers = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        **stages,
        "cpu_seconds": [round(usage.ru_utime + usage.ru_stime, 2) for usage in (own, workers)],
        "peak_mib": [round(own.ru_maxrss / 1024), round(worker_peak[0] / 2**20)],
    }


def _measure(*arguments: str) -> dict[str, Any]:
    """The answer of this module in a fresh process."""
    command = [sys.executable, "-m", "tests.benchmarks.ingest", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _syncs(root: Path, scratch: Path, rounds: int) -> list[dict[str, Any]]:
    runs = []
    for number in range(rounds):
        data_dir = scratch / f"{root.name}-{number}"
        runs.append(_measure("--sync", str(root), str(data_dir)))
    return runs


def main() -> None:
    """Generate, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--documents", type=int, default=20_000)
    parser.add_argument("--plain", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--sync", type=Path, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.plain:
        print(json.dumps(_plain(options.plain)))
        return
    if options.sync:
        print(json.dumps(_sync(*options.sync)))
        return
    from warehouse.samples import generate_documents

    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        many, few = scratch / "many", scratch / "few"
        generate_documents(many, documents=options.documents)
        generate_documents(few, documents=options.documents // 10)
        plain = min(_measure("--plain", str(many))["seconds"] for _ in range(ROUNDS))
        runs = _syncs(many, scratch, ROUNDS)
        small = _syncs(few, scratch, 1)[0]
        cold = min(sum(run["cold"]) for run in runs)
        unchanged = min(sum(run["unchanged"]) for run in runs)
        best = min(runs, key=lambda run: sum(run["cold"]))
        print(f"plain script    {plain:7.2f} s {options.documents / plain:9,.0f} documents/s")
        print(f"cold sync       {cold:7.2f} s {options.documents / cold:9,.0f} documents/s {cold / plain:6.2f} x")
        print(f"unchanged sync  {unchanged:7.2f} s {'':21} {unchanged / plain:6.2f} x")
        print(f"cold stages     {best['cold']} s; unchanged {best['unchanged']} s")
        print(f"CPU seconds     {best['cpu_seconds']} (the sync, its workers)")
        print(f"peak memory     {best['peak_mib']} MiB; of a tenth of the documents {small['peak_mib']} MiB")


if __name__ == "__main__":
    main()
