"""What keeping recommendations brings: a question for the first time, the same again, and on a server that keeps none.

    python -m tests.benchmarks.recommendations [--adapters 10000] [--questions 200] [--json]

Real servers, each its own process, on a scratch SQLite database with synthetic vectors and a published index. Every
question is asked once (a miss) and, when the answers have been written, once more (a hit), over HTTP.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from sqlalchemy import bindparam, insert, select, update

from tests.benchmarks.api import percentiles, serve
from tests.benchmarks.search import synthetic_embeddings
from tests.warehouse.queries.library import NOUNS, STYLES, TAGS, fill
from warehouse import migrations
from warehouse.engine import Database, connect
from warehouse.lexical.publishing import publish_words
from warehouse.models import Adapter, AdapterDetail, Embedding
from warehouse.settings import Settings
from warehouse.vectors import publish_index

ROUTES = "/api/v1/recommendations"
OFF = {"LORA_MANAGER_RECOMMENDATION_CACHE_SECONDS": "0"}


def prepare(database: Database, settings: Settings, adapters: int) -> list[str]:
    """A library with words, example prompts, vectors and indexes; the ids of its adapters."""
    fill(database, adapters)
    _give_examples(database)
    for _, rows in synthetic_embeddings(np.random.default_rng(0), settings, adapters):
        with database.write() as connection:
            connection.execute(insert(Embedding), rows)
    publish_index(database, settings)
    publish_words(database, settings)
    with database.read() as connection:
        return list(connection.execute(select(Adapter.id).order_by(Adapter.pk)).scalars())


def prompts(number: int, *, seed: int = 1) -> list[str]:
    """Different prompts of some twenty tags: a few that everybody writes, many that few do, as in real ones."""
    words = [*NOUNS, *STYLES, *TAGS, "misty valley", "golden hour", "intricate detail"]
    words += [f"{one} {other}" for one in STYLES for other in NOUNS]
    words += [f"{noun.lower()} of kind {kind}" for kind in range(200) for noun in NOUNS]
    random = np.random.default_rng(seed)
    drawn = np.minimum(random.zipf(1.2, (number, 20)) - 1, len(words) - 1)
    return [f"{', '.join(words[place] for place in row)}, variation {index}" for index, row in enumerate(drawn)]


def _give_examples(database: Database) -> None:
    """Every adapter gets four example prompts."""
    with database.read() as connection:
        numbers = list(connection.execute(select(AdapterDetail.adapter_pk)).scalars())
    given = prompts(4 * len(numbers), seed=2)
    statement = update(AdapterDetail).where(AdapterDetail.adapter_pk == bindparam("pk")).values(examples=bindparam("e"))
    with database.write() as connection:
        connection.execute(
            statement,
            [
                {"pk": number, "e": [{"prompt": text} for text in given[4 * place : 4 * place + 4]]}
                for place, number in enumerate(numbers)
            ],
        )


def measure(ask: Callable[[Any], httpx.Response], questions: list[Any], *, cached: bool) -> list[float]:
    """The latency of each question in milliseconds; it must be a hit or none."""
    taken = []
    for question in questions:
        began = time.perf_counter()
        response = ask(question).raise_for_status()
        taken.append((time.perf_counter() - began) * 1000)
        if response.json()["cached"] is not cached:
            raise RuntimeError(f"{question}: expected a {'hit' if cached else 'miss'}")
    return taken


def wait_until_kept(client: httpx.Client, number: int) -> None:
    """Until so many answers are in the table."""
    deadline = time.monotonic() + 30
    while client.get(f"{ROUTES}/stats").json()["cache"]["entries"] < number:
        if time.monotonic() > deadline:
            raise RuntimeError("the answers were not kept")
        time.sleep(0.1)


def measure_server(data_dir: Path, ids: list[str], questions: int, *, keeps: bool) -> dict[str, Any]:
    """Both routes on one server."""
    process, client = serve(data_dir, **({} if keeps else OFF))
    chosen = [ids[position] for position in np.random.default_rng(2).permutation(len(ids))[:questions]]
    asked: dict[str, tuple[Callable[[Any], httpx.Response], list[Any]]] = {
        "similar": (lambda key: client.get(f"{ROUTES}/similar/{key}"), chosen),
        "prompt": (lambda text: client.post(f"{ROUTES}/prompt", json={"prompt": text}), prompts(questions)),
    }
    found: dict[str, Any] = {}
    kept = 0
    try:
        for name, (ask, all_of_them) in asked.items():
            for question in all_of_them[:5]:
                ask(question)
            rest = all_of_them[5:]
            # Fewer at a time than may wait to be written.
            parts = [rest[start : start + 50] for start in range(0, len(rest), 50)]
            first: list[float] = []
            again: list[float] = []
            kept += 5 * keeps
            for part in parts:
                first += measure(ask, part, cached=False)
                if keeps:
                    kept += len(part)
                    wait_until_kept(client, kept)
                    again += measure(ask, part, cached=True)
            found[name] = {"first": percentiles(first), **({"again": percentiles(again)} if keeps else {})}
    finally:
        process.terminate()
        process.wait()
        client.close()
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapters", type=int, default=10_000)
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data_dir = Path(folder)
        database = connect(f"sqlite:///{data_dir / 'warehouse.sqlite3'}")
        migrations.upgrade(database)
        ids = prepare(database, Settings(data_dir=data_dir, recall_floor=0.0), options.adapters)
        results = {
            "adapters": options.adapters,
            "keeping none": measure_server(data_dir, ids, options.questions, keeps=False),
            "keeping answers": measure_server(data_dir, ids, options.questions, keeps=True),
            "kept_bytes": _kept_bytes(database),
        }
        database.dispose()
    if options.json:
        print(json.dumps(results, indent=1))
        return
    for server in ("keeping none", "keeping answers"):
        for route, figures in results[server].items():
            for which, latency in figures.items():
                print(
                    f"{server:16} {route:8} {which:6} p50 {latency['p50_ms']:7.2f} ms   p95 {latency['p95_ms']:7.2f} ms"
                )
    print(f"bytes of a kept answer: {results['kept_bytes']}")


def _kept_bytes(database: Database) -> dict[str, int]:
    with database.read() as connection:
        sizes = connection.exec_driver_sql("SELECT length(recommendations) FROM recommendation_cache").scalars().all()
    return {"median": int(np.median(sizes)), "largest": max(sizes)}


if __name__ == "__main__":
    main()
