"""Answers are those of exact search, follow what was written a moment ago, and never show what they must not."""

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import delete, insert, select, update

from tests.warehouse.lexical.test_publishing import flip
from tests.warehouse.vectors import library
from tests.warehouse.vectors.conftest import COUNT
from warehouse import facets
from warehouse.engine import Database
from warehouse.generations import DamagedError, roll_back
from warehouse.models import Adapter, AdapterDetail, Embedding
from warehouse.settings import Settings
from warehouse.vectors import (
    KIND,
    SPACES,
    NoVectorsError,
    Recommender,
    SearchFilter,
    SpaceName,
    compute_embeddings,
    decode_vector,
    publish_index,
    search,
)
from warehouse.vectors.indices import INDEX_FILE, NUMBERS_FILE
from warehouse.vectors.stored import by_adapter, vectors_of

EVEN = dict.fromkeys(SpaceName, 1.0)


def _embed(database: Database, settings: Settings) -> None:
    for space in SPACES:
        compute_embeddings(database, settings, space.name)


def _delete(database: Database, pk: int) -> None:
    with database.write() as connection:
        connection.execute(delete(AdapterDetail).where(AdapterDetail.adapter_pk == pk))
        connection.execute(delete(Adapter).where(Adapter.pk == pk))


def _exact(database: Database, pk: int, weights: dict[SpaceName, float]) -> list[tuple[float, int]]:
    """Every other adapter by similarity, computed the slow way."""
    with database.read() as connection:
        stored = vectors_of(connection, list(range(1, COUNT + 50)))
    vectors: dict[int, dict[SpaceName, Any]] = {}
    for item in stored:
        vectors.setdefault(item.adapter_pk, {})[item.space] = decode_vector(item.data)
    total = sum(weights.values())
    scores = []
    for other, mine in vectors.items():
        if other != pk:
            parts = {space: max(0.0, float(mine[space] @ vectors[pk][space])) for space in mine}
            scores.append((sum(weights[space] * parts[space] for space in parts) / total, other))
    return sorted(scores, key=lambda item: (-item[0], item[1]))


@pytest.mark.parametrize("weights", [EVEN, {"semantic": 0.6, "artistic": 0.3, "technical": 0.1}, {"semantic": 1.0}])
def test_similar_is_exact_with_and_without_an_index(
    filled: Database, settings: Settings, weights: dict[str, float]
) -> None:
    weighted = {space: float(weights.get(space, 0.0)) for space in SpaceName}
    expected = _exact(filled, 7, weighted)[:10]
    for published in (False, True):
        if published:
            publish_index(filled, settings)
        result = Recommender(filled, settings).similar(7, weights=weighted, k=10)
        assert [match.score for match in result.matches] == pytest.approx([score for score, _ in expected], abs=1e-5)
        assert (result.generation is not None) == published
        assert (result.searched, result.complete) == (COUNT, True)
        assert 7 not in {match.pk for match in result.matches}
    best = result.matches[0]
    assert best.score == pytest.approx(
        sum(weighted[space] * best.similarities[space] for space in SpaceName) / sum(weighted.values())
    )


def test_a_question_in_words_finds_its_theme(filled: Database, settings: Settings) -> None:
    publish_index(filled, settings)
    recommender = Recommender(filled, settings)
    for question, theme in (("brass steam airship", 1), ("a coat for the winter", 2), ("中国水墨画 竹子", 4)):
        matches = recommender.by_vectors(recommender.encode(question), k=5).matches
        assert {match.pk % len(library.THEMES) for match in matches} == {theme}
    scored = recommender.score(recommender.encode("brass steam airship"), [3, 1, 99999])
    assert [match.pk for match in scored] == [3, 1, 99999]
    assert scored[1].score > scored[0].score > scored[2].score == 0


def test_vectors_that_were_read_already_score_as_those_that_are_read_now(filled: Database, settings: Settings) -> None:
    publish_index(filled, settings)
    recommender = Recommender(filled, settings)
    asked = recommender.encode("brass steam airship")
    with filled.read() as connection:
        known = by_adapter(connection, [1, 99999])
    assert {number: len(vectors) for number, vectors in known.items()} == {1: len(SpaceName), 99999: 0}
    expected = recommender.score(asked, [3, 1, 99999])
    assert recommender.score(asked, [3, 1, 99999], stored=known) == expected
    with filled.write() as connection:
        connection.execute(delete(Embedding).where(Embedding.adapter_pk.in_([1, 3])))
    # What was read is not read again; the rest is.
    now = recommender.score(asked, [3, 1, 99999], stored=known)
    assert now[1].score == pytest.approx(expected[1].score)
    assert now[0].score == 0


def test_what_is_newer_than_the_index_is_found_and_replaces_what_it_was(filled: Database, settings: Settings) -> None:
    publish_index(filled, settings)
    recommender = Recommender(filled, settings)
    assert recommender.similar(1).searched == COUNT
    library.fill(
        filled, library.adapter(COUNT + 1, name="Sunken Cathedral", description_text="A drowned gothic church.")
    )
    with filled.write() as connection:
        # An adapter that the index knows turns into something else.
        connection.execute(
            update(Adapter)
            .where(Adapter.pk == 1)
            .values(name="Drowned Gothic Church", tags=["church"], trained_words=[], content_digest="0" * 32)
        )
        connection.execute(
            update(AdapterDetail)
            .where(AdapterDetail.adapter_pk == 1)
            .values(description_text="A sunken cathedral under the sea.", examples=[])
        )
    _embed(filled, settings)
    result = recommender.similar(COUNT + 1, k=3, weights={SpaceName.SEMANTIC: 1.0})
    assert result.matches[0].pk == 1
    assert [match.pk for match in result.matches].count(1) == 1
    assert result.searched == COUNT + 1
    found = recommender.by_vectors(recommender.encode("a church under water"), k=2).matches
    assert {match.pk for match in found} == {1, COUNT + 1}


def test_an_adapter_deleted_a_moment_ago_is_in_no_answer(filled: Database, settings: Settings) -> None:
    publish_index(filled, settings)
    recommender = Recommender(filled, settings)
    nearest = recommender.similar(1, k=1).matches[0].pk
    _delete(filled, nearest)
    assert nearest not in {match.pk for match in recommender.similar(1, k=COUNT).matches}
    with pytest.raises(NoVectorsError):
        recommender.similar(nearest)
    with pytest.raises(NoVectorsError):
        recommender.similar(99999)


def test_filters_are_hard_and_rare_values_are_found(filled: Database, settings: Settings) -> None:
    odd = library.adapter(COUNT + 1, base_model="Flux.1 D", nsfw_level=5, file_state="remote")
    library.fill(filled, odd, library.adapter(COUNT + 2, base_model="Flux.1 D", nsfw_level=31))
    _embed(filled, settings)
    publish_index(filled, settings)
    recommender = Recommender(filled, settings)

    def found(**values: Any) -> set[int]:
        return {match.pk for match in recommender.similar(1, k=COUNT, narrowed=SearchFilter(**values)).matches}

    assert found(base_model="Flux.1 D") == {COUNT + 1, COUNT + 2}
    assert found(base_model="Flux.1 D", nsfw_max=4) == {COUNT + 1}
    assert found(base_model="Flux.1 D", available_only=True) == {COUNT + 2}
    assert found(base_model="Pony") == {pk for pk in range(2, COUNT + 1) if pk % 4 == 2}
    assert found(nsfw_max=1) == set(range(2, COUNT + 1))
    assert found(base_model="no such model") == set()


def test_threshold_and_limit(filled: Database, settings: Settings) -> None:
    recommender = Recommender(filled, settings)
    assert len(recommender.similar(1, k=4).matches) == 4
    high = recommender.similar(1, k=COUNT, threshold=0.8).matches
    assert high
    assert min(match.score for match in high) >= 0.8
    assert recommender.similar(1, k=3, weights=dict.fromkeys(SpaceName, 0.0)).matches[0].score == 0


def test_the_current_generation_is_followed_back_and_forth(filled: Database, settings: Settings) -> None:
    recommender = Recommender(filled, settings)
    assert recommender.similar(1).generation is None
    first = publish_index(filled, settings)
    assert recommender.similar(1).generation == first.name
    second = publish_index(filled, settings, force=True)
    assert recommender.similar(1).generation == second.name
    roll_back(filled, KIND, first.name)
    assert recommender.similar(1).generation == first.name


def test_threads_are_answered_alike_while_generations_change(sqlite_database: Database, settings: Settings) -> None:
    library.fill(sqlite_database, *(library.adapter(pk) for pk in range(1, 41)))
    _embed(sqlite_database, settings)
    recommender = Recommender(sqlite_database, settings)
    expected = [match.pk for match in recommender.similar(3).matches]
    answers: list[list[int]] = []

    def ask() -> None:
        answers.extend([match.pk for match in recommender.similar(3).matches] for _ in range(20))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(3):
        publish_index(sqlite_database, settings, force=True)
    for thread in threads:
        thread.join()
    assert len(answers) == 80
    assert all(answer == expected for answer in answers)


def test_lists_of_a_large_index_are_probed_until_enough_pass(
    sqlite_database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from warehouse.vectors import indices

    library.fill(sqlite_database, *(library.adapter(pk) for pk in range(1, 201)))
    _embed(sqlite_database, settings)
    monkeypatch.setattr(indices, "choose_index", lambda *_: indices.IndexPlan("IVF8,SQ8", 8, "small lists"))
    publish_index(sqlite_database, settings)
    recommender = Recommender(sqlite_database, settings)
    matches = recommender.similar(1, k=40, narrowed=SearchFilter(base_model="Pony")).matches
    assert len(matches) == 40
    assert all(match.pk % 4 == 2 for match in matches)
    with sqlite_database.read() as connection:
        assert facets.count_of(connection, "base_model", "Pony") == 50
    scores = [match.score for match in matches]
    assert scores == sorted(scores, reverse=True)
    assert np.isfinite(scores).all()


def test_a_damaged_generation_leaves_the_one_before_it_answering(
    filled: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = publish_index(filled, settings)
    recommender = Recommender(filled, settings)
    before = recommender.similar(7, k=10)
    second = publish_index(filled, settings)
    (second.path / INDEX_FILE).rename(second.path / "away")
    during = recommender.similar(7, k=10)
    assert (during.generation, during.matches) == (first.name, before.matches)
    library.fill(filled, library.adapter(COUNT + 1))
    _embed(filled, settings)
    assert recommender.similar(7, k=10).searched == COUNT + 1
    with pytest.raises(DamagedError):
        Recommender(filled, settings).similar(7)
    (second.path / "away").rename(second.path / INDEX_FILE)
    assert recommender.similar(7, k=10).generation == first.name
    monkeypatch.setattr(search, "_REOPEN_SECONDS", 0.0)
    recommender._reopen_at = 0.0
    assert recommender.similar(7, k=10).generation == second.name


def _cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


@pytest.mark.parametrize("damage", [flip, _cut, Path.unlink])
@pytest.mark.parametrize("name", [INDEX_FILE, NUMBERS_FILE])
def test_a_damaged_file_is_refused_and_the_next_publication_makes_it_anew(
    sqlite_database: Database,
    settings: Settings,
    embedded: list[dict[str, Any]],
    damage: Callable[[Path], None],
    name: str,
) -> None:
    library.fill(sqlite_database, *(library.adapter(pk) for pk in range(1, COUNT + 1)))
    with sqlite_database.write() as connection:
        connection.execute(insert(Embedding.__table__), embedded)
    first = publish_index(sqlite_database, settings)
    recommender = Recommender(sqlite_database, settings)
    before = recommender.similar(7, k=10)
    broken = publish_index(sqlite_database, settings, force=True)
    damage(broken.path / name)
    during = recommender.similar(7, k=10)
    assert (during.generation, during.matches) == (first.name, before.matches)
    with pytest.raises(DamagedError, match=rf"{broken.name} is damaged: {name} .*`lora-manager sync`"):
        Recommender(sqlite_database, settings).similar(7)
    mended = publish_index(sqlite_database, settings)
    assert mended.pk > broken.pk
    assert Recommender(sqlite_database, settings).similar(7, k=10).matches == before.matches


def test_a_vector_that_commits_after_a_newer_one_is_found_at_once(filled: Database, settings: Settings) -> None:
    if filled.is_sqlite:
        pytest.skip("SQLite has one writer at a time: nothing can commit out of order")
    publish_index(filled, settings)
    recommender = Recommender(filled, settings)
    late, early = COUNT + 1, COUNT + 2
    library.fill(filled, library.adapter(late), library.adapter(early))
    with filled.read() as connection:
        semantic = (Embedding.adapter_pk == 1) & (Embedding.embedding_type == "semantic")
        like = dict(connection.execute(select(*Embedding.__table__.c).where(semantic)).mappings().one())
    del like["pk"]
    with filled.write() as slow:
        slow.execute(insert(Embedding).values({**like, "id": "late", "adapter_pk": late}))
        with filled.write() as fast:
            fast.execute(insert(Embedding).values({**like, "id": "early", "adapter_pk": early}))
        assert _found(recommender, late, early) == {early}
    assert _found(recommender, late, early) == {late, early}


def _found(recommender: Recommender, *pks: int) -> set[int]:
    """Those of the adapters that are among the most similar to the first of all."""
    weights = {SpaceName.SEMANTIC: 1.0, SpaceName.ARTISTIC: 0.0, SpaceName.TECHNICAL: 0.0}
    return {match.pk for match in recommender.similar(1, k=10, weights=weights).matches} & set(pks)
