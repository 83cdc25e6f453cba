"""What surrounds a request costs: latency of small requests with one client, and throughput with sixteen.

    python -m tests.benchmarks.overhead [--against FOLDER] [--rounds 10] [--requests 500] [--json]

Starts the real server as its own process on a scratch SQLite database. With `--against`, a server of another checkout
runs on the same database and both are asked in turn, round by round, so that whatever else the machine does falls on
both alike. Latency and throughput are medians over the rounds; the ratio is that of the CPU time which the servers
spent on a request, which a busy machine disturbs least. The clients are raw sockets: they cost a tenth of what an HTTP
library does.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

import psutil

from tests.benchmarks.api import free_port
from tests.warehouse.queries.library import fill
from warehouse import migrations
from warehouse.engine import connect

HERE = Path(__file__).parents[2]
CLIENTS = (1, 16)


def serve(checkout: Path, data_dir: Path) -> tuple[subprocess.Popen[bytes], int]:
    """A server of a checkout, answering."""
    port = free_port()
    command = [sys.executable, "-c", "from serving.cli.main import main; main()", "serve", "--port", str(port)]
    environment = {**os.environ, "LORA_MANAGER_DATA_DIR": str(data_dir)}
    process = subprocess.Popen(command, cwd=checkout, env=environment, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health/ready", timeout=5) as answer:
                answer.read()
            return process, port
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"the server of {checkout} did not start")


async def _client(port: int, path: str, requests: int) -> list[float]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    question = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    taken = []
    for _ in range(requests):
        began = time.perf_counter()
        writer.write(question)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(head.decode("latin-1"))
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
        taken.append((time.perf_counter() - began) * 1000)
    writer.close()
    return taken


async def _round(port: int, path: str, clients: int, requests: int) -> tuple[float, float]:
    """(median milliseconds, requests per second) of so many clients at once."""
    began = time.perf_counter()
    taken = await asyncio.gather(*(_client(port, path, requests // clients) for _ in range(clients)))
    seconds = time.perf_counter() - began
    return statistics.median(each for client in taken for each in client), requests / seconds


def measure(servers: dict[str, tuple[int, int]], paths: dict[str, str], rounds: int, requests: int) -> dict[str, Any]:
    """Every server (its process and port) asked in turn; a first round warms up."""
    found: dict[str, Any] = {}
    for what, path in paths.items():
        for clients in CLIENTS:
            results: dict[str, list[tuple[float, float]]] = {name: [] for name in servers}
            cpu = dict.fromkeys(servers, 0.0)
            for number in range(rounds + 1):
                for name, (process, port) in servers.items():
                    before = _cpu_seconds(process)
                    taken = asyncio.run(_round(port, path, clients, requests))
                    if number:
                        results[name].append(taken)
                        cpu[name] += _cpu_seconds(process) - before
            found[f"{what}, {clients} clients"] = {
                name: {
                    "p50_ms": round(statistics.median(each for each, _ in taken), 3),
                    "per_second": round(statistics.median(each for _, each in taken), 1),
                    "cpu_us": round(cpu[name] / rounds / requests * 1e6, 1),
                }
                for name, taken in results.items()
            }
    return found


def _cpu_seconds(process: int) -> float:
    spent = psutil.Process(process).cpu_times()
    return float(spent.user + spent.system)


def some_id(port: int) -> str:
    """The id of an adapter."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/adapters?limit=1", timeout=30) as answer:
        return str(json.load(answer)["items"][0]["id"])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--against", type=Path, metavar="FOLDER", help="another checkout to compare with")
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--requests", type=int, default=500)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        database = connect(f"sqlite:///{Path(folder) / 'warehouse.sqlite3'}")
        migrations.upgrade(database)
        fill(database, 1_000)
        database.dispose()
        checkouts = {"here": HERE} | ({"against": options.against.resolve()} if options.against else {})
        running: dict[str, tuple[subprocess.Popen[bytes], int]] = {}
        try:
            for name, checkout in checkouts.items():
                running[name] = serve(checkout, Path(folder))
            servers = {name: (process.pid, port) for name, (process, port) in running.items()}
            paths = {"health": "/health", "one adapter": f"/api/v1/adapters/{some_id(servers['here'][1])}"}
            found = measure(servers, paths, options.rounds, options.requests)
        finally:
            for process, _ in running.values():
                process.terminate()
                process.wait()
    if options.json:
        print(json.dumps(found, indent=1))
        return
    for what, figures in found.items():
        line = "   ".join(
            f"{name} {each['p50_ms']:7.3f} ms {each['per_second']:7.1f}/s {each['cpu_us']:6.0f} us CPU"
            for name, each in figures.items()
        )
        ratio = ""
        if "against" in figures:
            ratio = f"   CPU × {figures['here']['cpu_us'] / figures['against']['cpu_us']:.3f}"
        print(f"  {what:28} {line}{ratio}")


if __name__ == "__main__":
    main()
