"""What comes with the package: that it is for the code and the model that come with it, and what it says."""

from dataclasses import replace

import pytest

from warehouse.lexical import index
from warehouse.reranking import reranker
from warehouse.reranking.features import NOTHING_IN_WORDS, Candidate
from warehouse.settings import Settings

WEAK = Candidate(0.15, (0.2, 0.1, 0.2), 0.0, NOTHING_IN_WORDS, 4, None, "model:0")
STRONG = Candidate(0.5, (0.6, 0.5, 0.3), 6.0, (6.0, 9.0, 4.0, 30.0, 25.0, 18.0), 4, None, "model:99")


def test_it_was_learned_from_texts_and_terms_as_they_are_now_with_the_model_that_comes_along(
    settings: Settings,
) -> None:
    assert reranker.shipped() is not None
    assert reranker.serving(settings) is reranker.shipped()
    assert reranker.serving(settings.model_copy(update={"rerank": False})) is None


def test_another_model_has_none_and_one_tuned_from_it_has(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    trees = reranker.shipped()
    assert trees is not None
    origins = {settings.embedding_model_semantic: trees.model_digest, "tuned": trees.model_digest, "other": "0" * 64}
    monkeypatch.setattr(reranker, "model_origin", lambda _settings, name: origins[name])
    assert reranker.serving(settings.model_copy(update={"embedding_model_artistic": "tuned"})) is trees
    assert reranker.serving(settings.model_copy(update={"embedding_model_artistic": "other"})) is None


def test_one_of_other_forms_is_not_served(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reranker, "made_of", lambda: "features of tomorrow")
    reranker.shipped.cache_clear()
    try:
        assert reranker.serving(settings) is None
    finally:
        reranker.shipped.cache_clear()


def test_who_shares_more_in_every_way_is_more_relevant_in_a_library_of_any_size() -> None:
    trees = reranker.shipped()
    assert trees is not None
    others = [replace(WEAK, model=f"model:{number}") for number in range(40)]
    for adapters in (reranker.FEW, 10_000, 1_000_000):
        strong, *weak = trees.relevances([STRONG, *others], words=12, adapters=adapters)
        assert 0 <= max(weak) < strong < 1
        assert strong > 0.5


def test_where_nobody_has_much_the_best_has_no_more() -> None:
    trees = reranker.shipped()
    assert trees is not None
    alike = [
        replace(WEAK, similarity=0.1 + number / 400, prompts=number % 9, model=f"model:{number}")
        for number in range(40)
    ]
    found = trees.relevances(alike, words=1, adapters=1_500)
    assert len(set(found)) > 1
    assert max(found) == pytest.approx(max(candidate.similarity for candidate in alike), abs=1e-3)
    # Somebody with much sets the others free.
    _, *freed = trees.relevances([STRONG, *alike], words=1, adapters=1_500)
    assert max(freed) < 0.5


def test_the_order_of_candidates_changes_nothing() -> None:
    trees = reranker.shipped()
    assert trees is not None
    candidates = [STRONG, WEAK, replace(WEAK, similarity=0.3, author="brush"), replace(STRONG, author="brush")]
    there = trees.relevances(candidates, words=3, adapters=500)
    back = trees.relevances(candidates[::-1], words=3, adapters=500)
    assert back[::-1] == pytest.approx(there)
    assert trees.relevances([], words=3, adapters=500) == []
    assert len(STRONG.by_field) == len(index.WEIGHTS)
