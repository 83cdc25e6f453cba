"""Building, recall and latency of the search index over synthetic vectors in real tables.

    python -m tests.benchmarks.search [--adapters 100000] [--questions 200] [--json FILE]

Vectors are random around a thousand centres, a theme that an adapter has in all spaces. A question is the
whole of `Recommender.similar`: candidates of the index, filter in SQL, exact scores from the stored vectors.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from sqlalchemy import insert

from tests.warehouse.vectors import library
from warehouse import migrations
from warehouse.engine import Database, connect
from warehouse.models import Embedding
from warehouse.settings import Settings
from warehouse.vectors import SPACES, Recommender, SearchFilter, SpaceName, producer_of, publish_index
from warehouse.vectors.codec import encode_vectors

DIMENSION = 384
CENTRES = 1_000
CHUNK = 5_000
WEIGHTS = {"even": (1.0, 1.0, 1.0), "default": (0.6, 0.3, 0.1), "semantic": (1.0, 0.0, 0.0)}


def _vectors(
    random: np.random.Generator, centres: NDArray[np.float32], themes: NDArray[np.int64]
) -> NDArray[np.float32]:
    noise = random.normal(size=(len(themes), DIMENSION)).astype(np.float32)
    vectors = centres[themes] + 0.8 * noise / np.linalg.norm(noise, axis=1, keepdims=True)
    unit: NDArray[np.float32] = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def synthetic_embeddings(
    random: np.random.Generator, settings: Settings, adapters: int
) -> Iterator[tuple[range, list[dict[str, Any]]]]:
    """Numbers of adapters, from 1 on, and the rows of their vectors, in parts."""
    centres = random.normal(size=(len(SPACES), CENTRES, DIMENSION)).astype(np.float32)
    centres /= np.linalg.norm(centres, axis=2, keepdims=True)
    producers = [producer_of(settings, space) for space in SPACES]
    for first in range(1, adapters + 1, CHUNK):
        numbers = range(first, min(first + CHUNK, adapters + 1))
        themes = random.integers(0, CENTRES, len(numbers))
        rows = []
        for place, space in enumerate(SPACES):
            data = encode_vectors(_vectors(random, centres[place], themes))
            rows += [
                {
                    "id": f"{space.name}-{number}",
                    "adapter_pk": number,
                    "embedding_type": space.name.value,
                    "dimension": DIMENSION,
                    "embedding_data": vector,
                    "model_name": "synthetic",
                    "model_version": "1",
                    "text_digest": "",
                    "content_digest": f"{number:032x}",
                    "producer": producers[place],
                    "created_at": library.BORN,
                    "updated_at": library.BORN,
                }
                for number, vector in zip(numbers, data, strict=True)
            ]
        yield numbers, rows


def _latency(recommender: Recommender, numbers: list[int], **options: Any) -> dict[str, float]:
    seconds = []
    for number in numbers:
        started = time.perf_counter()
        recommender.similar(number, k=10, **options)
        seconds.append(time.perf_counter() - started)
    return {
        "p50_ms": round(1e3 * float(np.quantile(seconds, 0.5)), 2),
        "p95_ms": round(1e3 * float(np.quantile(seconds, 0.95)), 2),
    }


def measure(database: Database, settings: Settings, *, adapters: int, questions: int) -> dict[str, Any]:
    """All figures at one size."""
    random = np.random.default_rng(0)
    for numbers, rows in synthetic_embeddings(random, settings, adapters):
        library.fill(database, *(library.adapter(number) for number in numbers))
        with database.write() as connection:
            connection.execute(insert(Embedding), rows)
    manifest = publish_index(database, settings).manifest
    recommender = Recommender(database, settings)
    asked = random.integers(1, adapters + 1, questions).tolist()
    recommender.similar(asked[0])
    weightings = {name: dict(zip(SpaceName, weights, strict=True)) for name, weights in WEIGHTS.items()}
    return {
        "adapters": adapters,
        **{key: manifest[key] for key in ("factory", "nprobe", "recall", "seconds", "bytes")},
        "latency": {
            **{name: _latency(recommender, asked, weights=weights) for name, weights in weightings.items()},
            "base_model": _latency(recommender, asked, narrowed=SearchFilter(base_model="Pony")),
        },
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--adapters", type=int, default=100_000)
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        database = connect(f"sqlite:///{scratch}/warehouse.sqlite3")
        migrations.upgrade(database)
        # The figure is wanted even where it is low.
        settings = Settings(data_dir=Path(scratch), recall_floor=0.0)
        results = measure(database, settings, adapters=options.adapters, questions=options.questions)
        database.dispose()
    Console().print_json(data=results)
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
