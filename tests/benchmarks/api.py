"""What the API costs: latency of the requests that front ends make, and the choices that were made by measuring.

    python -m tests.benchmarks.api [--adapters 50000] [--requests 200] [--json]

Starts a real server as its own process on a scratch SQLite database filled straight into the tables. Prints p50 and
p95 per request, and what a page of 100 costs to write by msgspec and by validating and serialising pydantic models.
"""

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from serving import encoding
from serving.schemas.adapters import AdapterPage
from serving.signing import Signer
from tests.warehouse.queries.library import fill
from warehouse import migrations
from warehouse.engine import Database, connect
from warehouse.queries import pages
from warehouse.queries.filters import make_filter
from warehouse.queries.pages import Sort, SortKey

REQUESTS: dict[str, dict[str, Any]] = {
    "page of 100": {"limit": 100},
    "page of 100, -downloads": {"limit": 100, "sort": "-downloads"},
    "page of 100, offset 9,900": {"limit": 100, "offset": 9_900},
    "page of 100, frequent tag": {"limit": 100, "tag": "character"},
    "page of 100, rare tag": {"limit": 100, "tag": "rare tag"},
    "page of 100, two tags and base model": {"limit": 100, "tag": ["character", "style"], "base_model": "Pony"},
    "page of 100, full text": {"limit": 100, "q": "dragon neon"},
    "page of 100, full text of every adapter": {"limit": 100, "q": "lora"},
    "page of 24": {"limit": 24},
}


def milliseconds(action: Callable[[], Any], times: int) -> list[float]:
    """How long an action takes, each time."""
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        action()
        taken.append((time.perf_counter() - began) * 1000)
    return taken


def percentiles(taken: list[float]) -> dict[str, float]:
    """p50 and p95."""
    return {
        "p50_ms": round(statistics.median(taken), 2),
        "p95_ms": round(statistics.quantiles(taken, n=20)[18], 2),
    }


def measure_encoding(database: Database, times: int) -> dict[str, dict[str, float]]:
    """A page of 100 from rows to bytes: msgspec as it is used, and pydantic as FastAPI would."""
    with database.read() as connection:
        rows = pages.page(connection, make_filter(), Sort(SortKey.NAME), limit=100).rows
    signer = Signer(bytes(32))
    frame = {"total": 1, "limit": 100, "offset": 0, "next_cursor": None, "ranked_among": None}
    frame |= {"filtered": 1, "page": 1, "pages": 1, "per_page": 100}

    def by_msgspec() -> object:
        return encoding.answer({"items": [encoding.adapter(row, signer) for row in rows], **frame})

    def by_pydantic() -> str:
        content = {"items": [encoding.adapter(row, signer) for row in rows], **frame}
        return AdapterPage.model_validate(content).model_dump_json()

    return {
        "msgspec": percentiles(milliseconds(by_msgspec, times)),
        "pydantic": percentiles(milliseconds(by_pydantic, times)),
    }


def measure_handling(database: Database, times: int) -> dict[str, dict[str, float]]:
    """What running a handler in a thread adds to calling it in the event loop, on a trivial read."""

    def read() -> None:
        with database.read() as connection:
            connection.exec_driver_sql("SELECT 1").scalar()

    async def in_threads() -> list[float]:
        taken = []
        for _ in range(times):
            began = time.perf_counter()
            await asyncio.to_thread(read)
            taken.append((time.perf_counter() - began) * 1000)
        return taken

    return {
        "in the loop": percentiles(milliseconds(read, times)),
        "in a thread": percentiles(asyncio.run(in_threads())),
    }


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def serve(data_dir: Path, **settings: str) -> tuple[subprocess.Popen[bytes], httpx.Client]:
    """A server as its own process, answering; with further settings by their variables."""
    port = free_port()
    environment = {
        **os.environ,
        "LORA_MANAGER_DATA_DIR": str(data_dir),
        "LORA_MANAGER_LOG_LEVEL": "WARNING",
        **settings,
    }
    command = [sys.executable, "-m", "serving.server", "--port", str(port)]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    client = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60)
    deadline = time.monotonic() + 60
    while True:
        try:
            # The models are loaded first: they would be measured otherwise.
            if client.get("/health/ready").status_code == 200:
                return process, client
        except httpx.ConnectError:
            pass
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError("the server did not start")
        time.sleep(0.1)


def measure_requests(client: httpx.Client, times: int) -> dict[str, dict[str, float]]:
    """Latencies as a client on this machine sees them, one request at a time."""
    found = {}
    for name, params in REQUESTS.items():

        def ask(params: dict[str, Any] = params) -> None:
            client.get("/api/v1/adapters", params=params).raise_for_status()

        milliseconds(ask, 5)
        found[name] = percentiles(milliseconds(ask, times))
    some_id = client.get("/api/v1/adapters", params={"limit": 1}).json()["items"][0]["id"]
    for name, path in (
        ("one adapter", f"/api/v1/adapters/{some_id}"),
        ("tags", "/api/v1/adapters/tags"),
        ("dashboard", "/api/v1/dashboard/stats"),
        ("featured", "/api/v1/dashboard/featured-loras"),
    ):
        found[name] = percentiles(milliseconds(lambda path=path: client.get(path).raise_for_status(), times))  # type: ignore[misc]
    return found


def measure_load(client: httpx.Client, times: int, concurrency: int = 8) -> dict[str, float]:
    """Pages of 24 from several clients at once."""

    def ask(_: int) -> None:
        client.get("/api/v1/adapters", params={"limit": 24}).raise_for_status()

    began = time.perf_counter()
    with ThreadPoolExecutor(concurrency) as pool:
        list(pool.map(ask, range(times)))
    return {"requests_per_second": round(times / (time.perf_counter() - began), 1), "clients": concurrency}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--adapters", type=int, default=50_000)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder)
        database = connect(f"sqlite:///{data_dir / 'warehouse.sqlite3'}")
        migrations.upgrade(database)
        fill(database, options.adapters)
        results: dict[str, Any] = {
            "adapters": options.adapters,
            "writing a page of 100": measure_encoding(database, options.requests),
            "running a handler": measure_handling(database, options.requests),
        }
        process, client = serve(data_dir)
        try:
            results["requests"] = measure_requests(client, options.requests)
            results["load"] = measure_load(client, options.requests * 2)
        finally:
            process.terminate()
            process.wait()
            client.close()
            database.dispose()
    if options.json:
        print(json.dumps(results, indent=1))
        return
    for group in ("writing a page of 100", "running a handler", "requests"):
        print(f"\n{group}, {options.adapters:,} adapters")
        for name, figures in results[group].items():
            print(f"  {name:42} p50 {figures['p50_ms']:8.2f} ms   p95 {figures['p95_ms']:8.2f} ms")
    print(
        f"\n{results['load']['clients']} clients at once: {results['load']['requests_per_second']} pages of 24 a second"
    )


if __name__ == "__main__":
    main()
