"""What the API costs, and how that grows: latency of the requests that front ends make, in a small library and a large.

    python -m tests.benchmarks.api [--adapters 50000] [--small 500] [--requests 200] [--json FILE]

For each size a scratch SQLite database is filled straight into the tables, with random vectors and a published index,
and a real server is started on it as a process of its own. Clients are threads of this process, each with a connection
that it keeps. Every request is warmed up, then asked by one client and by sixteen. Prints one Markdown table of medians
and 95th percentiles with the ratio of the medians, one of the worst cases, and what a page of 100 costs to write by
msgspec and by validating and serialising pydantic models. A route that is not there is named and left out.
"""

import argparse
import asyncio
import http.client
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import numpy as np
import psutil
from sqlalchemy import insert, text

from serving import encoding
from serving.schemas.adapters import AdapterPage
from serving.signing import Signer
from tests.benchmarks.search import synthetic_embeddings
from tests.warehouse.queries.library import fill
from warehouse import facets, migrations
from warehouse.engine import Database, connect
from warehouse.models import AdapterTag, Embedding
from warehouse.queries import pages
from warehouse.queries.filters import make_filter
from warehouse.queries.pages import Sort, SortKey
from warehouse.settings import Settings
from warehouse.vectors import publish_index

API = "/api/v1"
ADAPTERS = f"{API}/adapters"
CLIENTS = 16
RARE, RARE_TAG = 12, "had by twelve"
ACTIVE = 12
"""Active adapters at every size: how many somebody uses does not depend on how many there are."""


@dataclass(frozen=True, slots=True)
class Question:
    """A request; `{id}` in its path is an adapter's id, `{cursor}` in a parameter a cursor far down the list."""

    name: str
    path: str
    params: Mapping[str, Any] | None = None
    body: Mapping[str, Any] | None = None


QUESTIONS = (
    Question("list, page of 100", ADAPTERS, {"limit": 100}),
    Question("list, page of 24", ADAPTERS, {"limit": 24}),
    Question("list, -downloads", ADAPTERS, {"limit": 24, "sort": "-downloads"}),
    Question("filtered: active", ADAPTERS, {"limit": 24, "active": "true"}),
    Question("filtered: frequent tag", ADAPTERS, {"limit": 24, "tag": "anime"}),
    Question("filtered: rare tag", ADAPTERS, {"limit": 24, "tag": RARE_TAG}),
    Question("filtered: base model", ADAPTERS, {"limit": 24, "base_model": "Pony"}),
    Question("search: two words", ADAPTERS, {"limit": 24, "q": "dragon neon"}),
    Question("get", f"{ADAPTERS}/{{id}}"),
    Question("tags", f"{ADAPTERS}/tags", {"limit": 100}),
    Question("compose", f"{API}/compose", None, {"prefix": "a knight"}),
    Question("similar", f"{API}/recommendations/similar/{{id}}", {"similarity_threshold": 0}),
    Question("dashboard", f"{API}/dashboard/stats"),
    Question("featured", f"{API}/dashboard/featured-loras"),
)
WORST = (
    Question("search: a word of every adapter", ADAPTERS, {"limit": 24, "q": "lora"}),
    Question("search: a word of every adapter, by name", ADAPTERS, {"limit": 24, "q": "lora", "sort": "name"}),
    Question("tag of 40 % and base model", ADAPTERS, {"limit": 24, "tag": "character", "base_model": "Pony"}),
    Question("two tags of 30 % and inactive", ADAPTERS, {"limit": 24, "tag": ["anime", "style"], "active": "false"}),
    Question("offset 10,000", ADAPTERS, {"limit": 24, "offset": 10_000}),
    Question("offset 10,000, -rating", ADAPTERS, {"limit": 24, "offset": 10_000, "sort": "-rating"}),
    Question("cursor at the middle", ADAPTERS, {"limit": 24, "sort": "created_at", "cursor": "{cursor}"}),
)


def milliseconds(action: Callable[[], Any], times: int, clock: Callable[[], float] = time.perf_counter) -> list[float]:
    """How long an action takes, each time, by a clock of seconds."""
    taken = []
    for _ in range(times):
        began = clock()
        action()
        taken.append((clock() - began) * 1000)
    return taken


def percentiles(taken: list[float]) -> dict[str, float]:
    """p50 and p95."""
    return {
        "p50_ms": round(statistics.median(taken), 2),
        "p95_ms": round(statistics.quantiles(taken, n=20)[18], 2),
    }


def measure_encoding(database: Database, times: int) -> dict[str, dict[str, float]]:
    """A page of 100 from rows to bytes, in time of the processor: msgspec as it is used, and pydantic as FastAPI
    would."""
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
        "msgspec": percentiles(milliseconds(by_msgspec, times, time.thread_time)),
        "pydantic": percentiles(milliseconds(by_pydantic, times, time.thread_time)),
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


class Asker:
    """One client: a connection that is kept, and as little else as there can be between a request and its time."""

    def __init__(self, port: int, question: Question, ids: list[str], cursor: str) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        params = {name: cursor if value == "{cursor}" else value for name, value in (question.params or {}).items()}
        query = f"?{urlencode(params, doseq=True)}" if params else ""
        self._paths = [question.path.replace("{id}", each) + query for each in ids]
        self._method = "GET" if question.body is None else "POST"
        self._body = None if question.body is None else json.dumps(question.body)
        self._next = 0

    def ask(self) -> int:
        """Ask once, of the next adapter where the question is about one; the status."""
        self._next = (self._next + 1) % len(self._paths)
        headers = {"Content-Type": "application/json"} if self._body else {}
        self._connection.request(self._method, self._paths[self._next], self._body, headers)
        response = self._connection.getresponse()
        response.read()
        return response.status

    def close(self) -> None:
        """Hang up."""
        self._connection.close()


@dataclass(frozen=True, slots=True)
class Served:
    """A library on a server of its own."""

    database: Database
    process: psutil.Process
    port: int
    ids: list[str]
    """Of some adapters."""
    cursor: str
    """At the middle of the list by `created_at`."""


def processor_seconds(process: psutil.Process) -> float:
    """What a process has used so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


def measure(served: Served, question: Question, times: int) -> dict[str, Any] | None:
    """Latencies of a question from one client and from several at once, and what one costs the server's processor,
    which other work on the machine hardly changes; None where there is no such route."""
    askers = [Asker(served.port, question, served.ids, served.cursor) for _ in range(CLIENTS)]
    try:
        began = time.perf_counter()
        status = askers[0].ask()
        first = (time.perf_counter() - began) * 1000
        if status in (404, 405):
            return None
        if status != 200:
            raise RuntimeError(f"{question.name}: {status}")
        milliseconds(askers[0].ask, 10)
        used = processor_seconds(served.process)
        alone = milliseconds(askers[0].ask, times)
        used = processor_seconds(served.process) - used
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(Asker.ask, askers))
            together = list(pool.map(lambda asker: milliseconds(asker.ask, max(2, times // 8)), askers))
    finally:
        for asker in askers:
            asker.close()
    return {
        "first_ms": round(first, 1),
        "processor_ms": round(used / times * 1000, 2),
        "alone": percentiles(alone),
        "together": percentiles([each for taken in together for each in taken]),
    }


@contextmanager
def library(adapters: int) -> Iterator[Served]:
    """A served library of some size."""
    with tempfile.TemporaryDirectory() as folder:
        database = connect(f"sqlite:///{folder}/warehouse.sqlite3")
        migrations.upgrade(database)
        fill(database, adapters)
        with database.write() as connection:
            connection.execute(text(f"UPDATE adapters SET active = (pk <= {ACTIVE})"))
            # Scattered over the library, and as many at every size: the page must not be longer where there are more.
            rare = [{"adapter_pk": 1 + place * (adapters // RARE), "tag": RARE_TAG} for place in range(RARE)]
            connection.execute(insert(AdapterTag), rare)
            facets.repair(connection)
        # The index is what is measured, not whether it may be published.
        settings = Settings(_env_file=None, data_dir=Path(folder), recall_floor=0.0)  # type: ignore[call-arg]
        for _, rows in synthetic_embeddings(np.random.default_rng(0), settings, adapters):
            with database.write() as connection:
                connection.execute(insert(Embedding), rows)
        publish_index(database, settings)
        process, client = serve(Path(folder))
        try:
            ids = [item["id"] for item in client.get(ADAPTERS, params={"limit": 50}).json()["items"]]
            port = client.base_url.port or 0
            yield Served(database, psutil.Process(process.pid), port, ids, _middle(client, adapters))
        finally:
            process.terminate()
            process.wait()
            client.close()
            database.dispose()


def _middle(client: httpx.Client, adapters: int) -> str:
    cursor = ""
    for _ in range(max(1, adapters // 1_000)):
        params = {"limit": 500, "sort": "created_at", **({"cursor": cursor} if cursor else {})}
        found = client.get(ADAPTERS, params=params).raise_for_status().json()["next_cursor"]
        cursor = found or cursor
    return cursor


def _row(name: str, cells: list[str]) -> str:
    return f"| {name} | {' | '.join(cells)} |"


def table(small: dict[str, Any], large: dict[str, Any], sizes: tuple[int, int]) -> Iterator[str]:
    """Medians and 95th percentiles of the questions at both sizes as a Markdown table."""
    few, many = (f"{size:,}" for size in sizes)
    together = f"{CLIENTS} clients"
    sizes_thrice = [
        few,
        many,
        "ratio",
        f"CPU, {few}",
        f"CPU, {many}",
        "ratio",
        f"{few}, {together}",
        f"{many}, {together}",
    ]
    yield _row("p50 / p95 in ms", [*sizes_thrice, "ratio"])
    yield "|---|" + "---:|" * 9
    for question in QUESTIONS:
        if large[question.name] is None:
            continue
        pair = (small[question.name], large[question.name])
        cells = _latencies(pair, "alone")
        cells += [*(f"{each['processor_ms']:.2f}" for each in pair), _ratio(*(each["processor_ms"] for each in pair))]
        yield _row(question.name, cells + _latencies(pair, "together"))


def _latencies(pair: tuple[dict[str, Any], dict[str, Any]], way: str) -> list[str]:
    shown = [f"{each[way]['p50_ms']:.1f} / {each[way]['p95_ms']:.1f}" for each in pair]
    return [*shown, _ratio(*(each[way]["p50_ms"] for each in pair))]


def _ratio(small: float, large: float) -> str:
    return f"{large / small:.2f}" if small else "–"


def worst_table(found: dict[str, Any], size: int) -> Iterator[str]:
    """The worst cases of the large library as a Markdown table."""
    yield _row(f"worst cases at {size:,}, ms", ["first", "p50 / p95", "CPU", f"p50 / p95, {CLIENTS} clients"])
    yield "|---|" + "---:|" * 4
    for question in WORST:
        each = found[question.name]
        alone, together = (f"{each[way]['p50_ms']:.1f} / {each[way]['p95_ms']:.1f}" for way in ("alone", "together"))
        cells = [f"{each['first_ms']:.1f}", alone, f"{each['processor_ms']:.2f}", together]
        yield _row(question.name, cells)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapters", type=int, default=50_000)
    parser.add_argument("--small", type=int, default=500)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    options = parser.parse_args()
    results: dict[str, Any] = {}
    for size in (options.small, options.adapters):
        with library(size) as served:
            results[str(size)] = {each.name: measure(served, each, options.requests) for each in QUESTIONS}
            if size == options.adapters:
                results["worst"] = {each.name: measure(served, each, options.requests // 4) for each in WORST}
                results["writing a page of 100"] = measure_encoding(served.database, options.requests)
                results["running a handler"] = measure_handling(served.database, options.requests)
    sizes = (options.small, options.adapters)
    print("\n".join(table(results[str(sizes[0])], results[str(sizes[1])], sizes)))
    print()
    print("\n".join(worst_table(results["worst"], options.adapters)))
    for name, found in results[str(options.adapters)].items():
        if found is None:
            print(f"\n{name}: this server has no such route")
    for group in ("writing a page of 100", "running a handler"):
        print(f"\n{group}")
        for name, figures in results[group].items():
            print(f"  {name:12} p50 {figures['p50_ms']:.2f} ms, p95 {figures['p95_ms']:.2f} ms")
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
