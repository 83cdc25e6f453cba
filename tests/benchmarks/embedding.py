"""How fast the encoders are against `SentenceTransformer.encode` with its defaults, and what int8 costs.

    python -m tests.benchmarks.embedding [--documents FOLDER] [--texts 1000] [--rounds 3] [--json FILE]

The same texts on the same device, the competitors in turn, the best round of each. Texts are those of the three
spaces of the documents in FOLDER (API model documents); without it, of generated ones. What int8 costs is said twice:
how many of the ten nearest of fp32 it keeps, and how often a held-out prompt finds its adapter among the first ten.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from tests.benchmarks.adapters_of_documents import Described, described_adapters
from warehouse.samples import generate_documents
from warehouse.settings import MINILM, Settings
from warehouse.vectors import SPACES, default_weights, prompt_weights
from warehouse.vectors.devices import choose_device
from warehouse.vectors.encoders import Encoder, open_encoder
from warehouse.vectors.encoders.weights import find_model
from warehouse.vectors.spaces import SpaceName
from warehouse.vectors.texts import prompt_text

Vectors = NDArray[np.float32]
TOP = 10


def _competitors(data: Path, device: str) -> dict[str, Callable[[Sequence[str]], Vectors]]:
    from sentence_transformers import SentenceTransformer

    settings = Settings(data_dir=data, embedding_precision="auto")
    reference = SentenceTransformer(str(find_model(MINILM, offline=True).path))
    competitors: dict[str, Callable[[Sequence[str]], Vectors]] = {
        "SentenceTransformer.encode": lambda texts: np.asarray(reference.encode(list(texts))),
    }
    precisions = ("fp32", "int8") if device == "cpu" else ("auto",)
    for precision in precisions:
        encoder = open_encoder(settings.model_copy(update={"embedding_precision": precision}), MINILM)
        competitors[f"{encoder.identity.backend} {encoder.identity.precision}"] = encoder.encode
    return competitors


def _race(
    competitors: dict[str, Callable[[Sequence[str]], Vectors]], texts: Sequence[str], rounds: int
) -> dict[str, dict[str, float]]:
    seconds: dict[str, list[float]] = {name: [] for name in competitors}
    vectors: dict[str, Vectors] = {}
    for name, encode in competitors.items():
        encode(texts[:64])
        vectors[name] = _unit(encode(texts))
    for _ in range(rounds):
        for name, encode in competitors.items():
            started = time.perf_counter()
            encode(texts)
            seconds[name].append(time.perf_counter() - started)
    reference = next(iter(competitors))
    results = {}
    for name in competitors:
        cosines = (vectors[name] * vectors[reference]).sum(axis=1)
        results[name] = {
            "texts_per_second": len(texts) / min(seconds[name]),
            "ratio": min(seconds[reference]) / min(seconds[name]),
            "cosine_min": float(cosines.min()),
            "cosine_mean": float(cosines.mean()),
        }
    return results


def _unit(vectors: Vectors) -> Vectors:
    unit: Vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return unit


def _library(encoder: Encoder, adapters: Sequence[Described], weights: Mapping[SpaceName, float]) -> Vectors:
    """Rows whose inner product with a row of a question is Σ w·cos."""
    rows = [encoder.encode([space.text(item.facts) for item in adapters]) for space in SPACES]
    return np.concatenate([row * weights[space.name] for row, space in zip(rows, SPACES, strict=True)], axis=1)


def _found_by_prompt(encoder: Encoder, adapters: Sequence[Described], weights: Mapping[SpaceName, float]) -> float:
    rows = _library(encoder, adapters, weights)
    asked = [(position, item.held_out) for position, item in enumerate(adapters) if item.held_out]
    question = encoder.encode([prompt_text(prompt) for _, prompt in asked])
    scores = np.tile(question, (1, len(SPACES))) @ rows.T
    ranks = (scores > scores[np.arange(len(asked)), [position for position, _ in asked]][:, None]).sum(axis=1)
    return float((ranks < TOP).mean())


def _kept_neighbours(exact: Vectors, approximate: Vectors) -> float:
    """Recall@10 of searching approximate vectors with approximate questions; a tie within 1e-4 is a hit."""
    truth = exact @ exact.T
    found = np.argpartition(-(approximate @ approximate.T), TOP, axis=1)[:, :TOP]
    floor = -np.partition(-truth, TOP - 1, axis=1)[:, TOP - 1] - 1e-4
    return float((np.take_along_axis(truth, found, axis=1) >= floor[:, None]).mean())


def _precision_cost(data: Path, adapters: Sequence[Described]) -> dict[str, float]:
    settings = Settings(data_dir=data)
    encoders = {
        precision: open_encoder(settings.model_copy(update={"embedding_precision": precision}), MINILM)
        for precision in ("fp32", "int8")
    }
    libraries = {name: _unit(_library(encoder, adapters, default_weights())) for name, encoder in encoders.items()}
    found = {name: _found_by_prompt(encoder, adapters, prompt_weights()) for name, encoder in encoders.items()}
    return {
        "adapters": len(adapters),
        "neighbours_kept_by_int8": _kept_neighbours(libraries["fp32"], libraries["int8"]),
        "prompt_finds_adapter_fp32": found["fp32"],
        "prompt_finds_adapter_int8": found["int8"],
    }


def measure(folder: Path, *, texts: int, rounds: int, data: Path) -> dict[str, Any]:
    """All figures over the documents of a folder."""
    adapters = list(described_adapters(folder))
    every = list(dict.fromkeys(space.text(item.facts) for item in adapters for space in SPACES))
    # A stride, so that short and long texts of all spaces are in the sample.
    sample = every[:: max(1, len(every) // texts)][:texts]
    device = choose_device("auto").kind
    results: dict[str, Any] = {
        "device": device,
        "texts": len(sample),
        "characters_mean": float(np.mean([len(text) for text in sample])),
        "encoders": _race(_competitors(data, device), sample, rounds),
    }
    if device == "cpu":
        results["precision"] = _precision_cost(data, adapters)
    return results


def main() -> None:
    """Measure, print a table and, where asked, write JSON."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--documents", type=Path, help="a folder of API model documents")
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the figures here")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.documents
        if folder is None:
            folder = Path(scratch) / "documents"
            generate_documents(folder, documents=1000)
        results = measure(folder, texts=options.texts, rounds=options.rounds, data=Path(scratch) / "data")
    table = Table(title=f"{results['texts']} texts of {results['characters_mean']:.0f} characters, {results['device']}")
    for heading in ("encoder", "texts/s", "ratio", "cosine min", "cosine mean"):
        table.add_column(heading)
    for name, row in results["encoders"].items():
        table.add_row(
            name,
            f"{row['texts_per_second']:.1f}",
            f"{row['ratio']:.2f}",
            f"{row['cosine_min']:.5f}",
            f"{row['cosine_mean']:.5f}",
        )
    console = Console()
    console.print(table)
    console.print_json(data=results)
    if options.json is not None:
        options.json.write_text(json.dumps(results, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
