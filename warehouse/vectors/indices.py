"""The search index: chosen from its size, built from the stored vectors, measured, and published as a generation.

Belongs here: FAISS as it writes. Does not: searching for somebody (`search`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from sqlalchemy import Connection

from warehouse.engine import Database
from warehouse.generations import FILES, Manifest, Published, current, digests, is_kept, publish
from warehouse.ingest.progress import Progress, Silence
from warehouse.models import Embedding
from warehouse.settings import Settings
from warehouse.vectors import tuned
from warehouse.vectors.encoders.onnx_encoder import usable_cores
from warehouse.vectors.layout import Layout
from warehouse.vectors.recall import RecallMeter
from warehouse.vectors.stored import counts_of, layout_of, newest_pk, stream_rows
from warehouse.vectors.work import producers_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

KIND = "indices/recommend"
INDEX_FILE = "index.faiss"
NUMBERS_FILE = "adapters.npy"
"""The adapters in the index, their numbers ascending."""
VERSION = 2
"""Changed whenever an index built from the same vectors would differ."""

FLAT_UP_TO = 5_000
SCAN_UP_TO = 20_000
"""Up to here one core scans all of it in some 4 ms (10 ms were measured at 50,000, a third of a whole question)."""
_TRAINING_PER_LIST = 40
"""k-means of FAISS wants 39 points per centroid."""
_TRAINING_SCALAR = 20_000
RECALL_GOAL = 0.97
"""More lists are probed until this is reached: twice as many take a millisecond or two."""
_QUERIES = 128
_HASH_FACTOR, _HASH_RANGE = 40_503, 65_521


class RecallTooLowError(RuntimeError):
    """The index finds too little of what an exact search finds; it was not published. `recalls` is by weighting."""

    def __init__(self, recalls: Mapping[str, float], floor: float, plan: IndexPlan) -> None:
        worst = min(recalls, key=lambda name: recalls[name])
        super().__init__(
            f"the index {plan.factory} finds {recalls[worst]:.3f} of the ten nearest at weights {worst}, below the "
            f"floor of {floor:.3f}: the generation before it is still in use. Lower LORA_MANAGER_RECALL_FLOOR to "
            "accept it"
        )
        self.recalls = dict(recalls)


@dataclass(frozen=True, slots=True)
class IndexPlan:
    """An index: FAISS's factory string, lists probed per question (0: there are no lists), and why this one."""

    factory: str
    nprobe: int
    reason: str


def choose_index(n: int, dimension: int, memory_bytes: int) -> IndexPlan:
    """The index for `n` rows of `dimension` floats on a machine with this much memory.

    Flat while that is small, then 8-bit components, then lists of them; 4-bit components where 8 would take more than
    half of the memory.
    """
    if n <= FLAT_UP_TO:
        return IndexPlan("IDMap,Flat", 0, f"{n:,} rows: exact, {n * dimension * 4 / 2**20:.0f} MiB")
    if n <= SCAN_UP_TO:
        return IndexPlan("IDMap,SQ8", 0, f"{n:,} rows: all scanned at 8 bits, {n * dimension / 2**20:.0f} MiB")
    # The power of two next to 2·√n: 1,024 lists for 200,000 rows, 2,048 for a million.
    lists = 1 << round((4 * n).bit_length() / 2)
    nprobe = max(32, lists // 32)
    needed = n * dimension
    if needed > memory_bytes // 2:
        return IndexPlan(
            f"IVF{lists},SQ4", 2 * nprobe, f"{n:,} rows: 8 bits would take {needed / 2**30:.1f} GiB, more than half"
        )
    return IndexPlan(f"IVF{lists},SQ8", nprobe, f"{n:,} rows: lists of 8 bits, {needed / 2**20:.0f} MiB")


def publish_index(
    database: Database, settings: Settings, *, progress: Progress | None = None, force: bool = False
) -> Published:
    """Build the index over all current vectors and make it the current generation.

    Nothing is built where the current generation was made from the same vectors and is whole, unless forced.

    Raises:
        RecallTooLowError: measured recall is below `settings.recall_floor`.
        EncoderError: a model cannot be used. PublicationError: the disk is full or not writable.
    """
    producers = producers_of(tuned.in_use(database, settings))
    with database.read() as connection:
        source = _source(connection, layout_of(connection, producers))
        before = current(database, settings, KIND)
        if not force and before is not None and before.manifest.get("source") == source and is_kept(settings, before):
            return before
        return publish(
            database,
            settings,
            KIND,
            lambda folder: _build(
                connection, Layout.from_manifest(source["layout"]), source, settings, folder, progress
            ),
        )


def _source(connection: Connection, layout: Layout) -> dict[str, Any]:
    """What an index is made from, in a few numbers: equal means equal vectors."""
    return {
        "version": VERSION,
        "last_embedding": newest_pk(connection),
        "vectors": {space.value: count for space, count in counts_of(connection, layout).items()},
        "layout": layout.as_manifest(),
    }


def _build(
    connection: Connection,
    layout: Layout,
    source: dict[str, Any],
    settings: Settings,
    folder: Path,
    progress: Progress | None,
) -> Manifest:
    import faiss
    import numpy as np

    started = time.monotonic()
    shown = progress or Silence()
    faiss.omp_set_num_threads(usable_cores())
    n = max(source["vectors"].values(), default=0)
    plan = choose_index(n, layout.dimension, psutil.virtual_memory().total)
    index = faiss.index_factory(layout.dimension, plan.factory, faiss.METRIC_INNER_PRODUCT)
    if not index.is_trained:
        shown.start(None, "training rows")
        index.train(_sample(connection, layout, n, _training_size(plan)))
    meter = RecallMeter(layout, _sample(connection, layout, n, min(n, _QUERIES)))
    shown.start(n, "adapters")
    added: list[NDArray[np.int64]] = []
    for numbers, rows in stream_rows(connection, layout) if n else ():
        index.add_with_ids(rows, numbers)
        meter.see(rows)
        added.append(numbers)
        shown.advance(len(numbers))
    held = np.concatenate([np.empty(0, dtype=np.int64), *added])
    np.save(folder / NUMBERS_FILE, held)
    path = folder / INDEX_FILE
    _write(index, path)
    del index
    # What will be served is what was written, so that is what is measured.
    written = faiss.read_index(str(path))
    if written.ntotal != len(held):
        raise RuntimeError(
            f"{path} holds {written.ntotal:,} rows after writing {len(held):,}: the disk is not to be trusted"
        )
    nprobe, recalls = _tune(connection, written, meter, plan.nprobe, max(RECALL_GOAL, settings.recall_floor))
    if min(recalls.values(), default=1.0) < settings.recall_floor:
        raise RecallTooLowError(recalls, settings.recall_floor, plan)
    return {
        "n": len(held),
        "factory": plan.factory,
        "nprobe": nprobe,
        "reason": plan.reason,
        "dimension": layout.dimension,
        "recall": recalls,
        "seconds": round(time.monotonic() - started, 3),
        "bytes": path.stat().st_size,
        FILES: digests(folder),
        "models": {part.space.value: part.model_name for part in layout.parts},
        "source": source,
    }


def _write(index: Any, path: Path) -> None:
    import faiss

    try:
        faiss.write_index(index, str(path))
    except RuntimeError as error:
        # FAISS has no other error than this one, and says of which of its lines.
        raise OSError(f"{path.name} could not be written, the disk is full or failing ({error})") from error


def _tune(
    connection: Connection, index: Any, meter: RecallMeter, nprobe: int, goal: float
) -> tuple[int, dict[str, float]]:
    """The fewest lists to probe, doubling from `nprobe`, at which recall reaches the goal; all where it never does."""
    while True:
        recalls = meter.measure(connection, index, nprobe)
        if not nprobe or nprobe >= index.nlist or min(recalls.values(), default=1.0) >= goal:
            return nprobe, recalls
        nprobe = min(index.nlist, 2 * nprobe)


def _training_size(plan: IndexPlan) -> int:
    if not plan.factory.startswith("IVF"):
        return _TRAINING_SCALAR
    return _TRAINING_PER_LIST * int(plan.factory.removeprefix("IVF").partition(",")[0])


def _sample(connection: Connection, layout: Layout, n: int, wanted: int) -> NDArray[np.float32]:
    """At least some `wanted` rows, spread evenly over the numbers; all where there are fewer."""
    import numpy as np

    if not n:
        return np.empty((0, layout.dimension), dtype=np.float32)
    # A multiplicative hash, so that a pattern in the numbers is none in the sample.
    spread = (Embedding.adapter_pk * _HASH_FACTOR) % _HASH_RANGE % max(1, n // max(1, wanted)) == 0
    return np.concatenate(
        [
            np.empty((0, layout.dimension), dtype=np.float32),
            *(rows for _, rows in stream_rows(connection, layout, spread)),
        ]
    )
