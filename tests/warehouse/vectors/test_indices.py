"""The index: chosen by size, measured against exact search, published whole or not at all."""

from pathlib import Path

import faiss
import numpy as np
import pytest
from sqlalchemy import delete

from tests.warehouse.vectors import library
from warehouse.engine import Database
from warehouse.generations import current
from warehouse.models import Adapter, AdapterDetail
from warehouse.settings import Settings
from warehouse.vectors import KIND, SPACES, RecallTooLowError, choose_index, compute_embeddings, publish_index
from warehouse.vectors.indices import INDEX_FILE, NUMBERS_FILE
from warehouse.vectors.layout import Layout, Part, combine
from warehouse.vectors.recall import RecallMeter
from warehouse.vectors.spaces import SpaceName

GIB = 2**30


@pytest.mark.parametrize(
    ("n", "memory", "factory"),
    [
        (0, 8 * GIB, "IDMap,Flat"),
        (5_000, 8 * GIB, "IDMap,Flat"),
        (20_000, 8 * GIB, "IDMap,SQ8"),
        (50_000, 8 * GIB, "IVF512,SQ8"),
        (200_000, 8 * GIB, "IVF1024,SQ8"),
        (1_000_000, 8 * GIB, "IVF2048,SQ8"),
        (1_000_000, 2 * GIB, "IVF2048,SQ4"),
    ],
)
def test_the_index_follows_from_size_and_memory(n: int, memory: int, factory: str) -> None:
    plan = choose_index(n, 1152, memory)
    assert plan.factory == factory
    assert bool(plan.nprobe) == factory.startswith("IVF")
    assert f"{n:,}" in plan.reason
    faiss.index_factory(1152, plan.factory, faiss.METRIC_INNER_PRODUCT)


def _embed(database: Database, settings: Settings) -> None:
    for space in SPACES:
        compute_embeddings(database, settings, space.name)


def test_a_generation_holds_every_vector_and_says_what_it_is(database: Database, settings: Settings) -> None:
    library.fill(database, *(library.adapter(pk) for pk in range(1, 61)))
    _embed(database, settings)
    published = publish_index(database, settings)
    assert current(database, settings, KIND) == published
    manifest = published.manifest
    assert (manifest["n"], manifest["dimension"], manifest["factory"]) == (60, 1152, "IDMap,Flat")
    assert manifest["recall"] == {"1/1/1": 1.0, "0.6/0.3/0.1": 1.0, "1/0/0": 1.0}
    assert set(manifest["files"]) == {INDEX_FILE, NUMBERS_FILE}
    assert np.load(published.path / NUMBERS_FILE).tolist() == list(range(1, 61))
    assert manifest["models"]["semantic"] == settings.embedding_model_semantic


def test_equal_vectors_are_not_indexed_again(sqlite_database: Database, settings: Settings) -> None:
    library.fill(sqlite_database, *(library.adapter(pk) for pk in range(1, 6)))
    _embed(sqlite_database, settings)
    first = publish_index(sqlite_database, settings)
    assert publish_index(sqlite_database, settings) == first
    assert publish_index(sqlite_database, settings, force=True).pk > first.pk
    with sqlite_database.write() as connection:
        connection.execute(delete(AdapterDetail).where(AdapterDetail.adapter_pk == 2))
        connection.execute(delete(Adapter).where(Adapter.pk == 2))
    again = publish_index(sqlite_database, settings)
    assert again.manifest["n"] == 4


def test_a_space_without_vectors_takes_no_place_and_nothing_at_all_is_an_empty_index(
    sqlite_database: Database, settings: Settings
) -> None:
    empty = publish_index(sqlite_database, settings)
    assert (empty.manifest["n"], empty.manifest["recall"]) == (0, {})
    library.fill(sqlite_database, library.adapter(1))
    compute_embeddings(sqlite_database, settings, "artistic")
    assert publish_index(sqlite_database, settings).manifest["dimension"] == 384


def test_an_index_of_too_low_recall_is_refused_and_the_pointer_stays(
    sqlite_database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    library.fill(sqlite_database, *(library.adapter(pk) for pk in range(1, 151)))
    _embed(sqlite_database, settings)
    first = publish_index(sqlite_database, settings)
    # Every vector becomes one of two: a plan that cannot tell neighbours apart.
    from warehouse.vectors import indices

    poor = indices.IndexPlan("IDMap,PQ1x1", 0, "too coarse")
    monkeypatch.setattr(indices, "choose_index", lambda *_: poor)
    strict = settings.model_copy(update={"recall_floor": 1.0})
    with pytest.raises(RecallTooLowError, match="IDMap,PQ1x1") as refused:
        publish_index(sqlite_database, strict, force=True)
    assert set(refused.value.recalls) == {"1/1/1", "0.6/0.3/0.1", "1/0/0"}
    assert min(refused.value.recalls.values()) < 1
    assert current(sqlite_database, settings, KIND) == first
    folders = [path.name for path in (settings.generations_dir / KIND).iterdir()]
    assert folders == [first.name]


def test_lists_are_probed_until_recall_is_reached(
    sqlite_database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from warehouse.vectors import indices

    library.fill(sqlite_database, *(library.adapter(pk) for pk in range(1, 151)))
    _embed(sqlite_database, settings)
    monkeypatch.setattr(indices, "choose_index", lambda *_: indices.IndexPlan("IVF64,SQ8", 1, "one list"))
    manifest = publish_index(sqlite_database, settings).manifest
    assert manifest["nprobe"] > 1
    assert min(manifest["recall"].values()) >= indices.RECALL_GOAL


def test_a_full_disk_leaves_the_pointer(sqlite_database: Database, settings: Settings, tmp_path: Path) -> None:
    library.fill(sqlite_database, library.adapter(1))
    _embed(sqlite_database, settings)
    first = publish_index(sqlite_database, settings)
    blocked = settings.model_copy(update={"data_dir": tmp_path / "blocked"})
    (tmp_path / "blocked").mkdir()
    (tmp_path / "blocked" / "models").symlink_to(settings.models_dir)
    (tmp_path / "blocked" / "generations").write_text("a file where a folder must be")
    with pytest.raises(RuntimeError, match="not published"):
        publish_index(sqlite_database, blocked, force=True)
    assert current(sqlite_database, settings, KIND) == first


def _layout() -> Layout:
    parts = [Part(SpaceName(name), "p", "m", 4 * place, 4) for place, name in enumerate(SpaceName)]
    return Layout(tuple(parts))


def test_a_weighted_question_is_the_weighted_mean_of_cosines() -> None:
    random = np.random.default_rng(1)
    layout = _layout()
    assert Layout.from_manifest(layout.as_manifest()) == layout

    def unit() -> np.ndarray[tuple[int], np.dtype[np.float32]]:
        vector = random.normal(size=4).astype(np.float32)
        return vector / np.linalg.norm(vector)

    mine = {space: unit() for space in SpaceName}
    theirs = {space: unit() for space in SpaceName}
    weights = {SpaceName.SEMANTIC: 3.0, SpaceName.ARTISTIC: 0.5, SpaceName.TECHNICAL: 0.0}
    row = np.concatenate([theirs[space] for space in SpaceName])
    expected = combine({space: float(mine[space] @ theirs[space]) for space in SpaceName}, weights)
    assert layout.weighted(mine, weights) @ row == pytest.approx(expected, abs=1e-6)
    assert not layout.weighted(mine, dict.fromkeys(SpaceName, 0.0)).any()
    assert combine({}, weights) == 0
    assert combine({}, {}) == 0


def test_recall_sees_the_best_of_all_chunks() -> None:
    rows = np.eye(12, dtype=np.float32)
    meter = RecallMeter(_layout(), rows[:2])
    meter.see(rows[:5])
    meter.see(rows[5:])
    assert meter._best[0].max() == pytest.approx(1 / 3)
    assert meter._best.shape == (6, 10)
