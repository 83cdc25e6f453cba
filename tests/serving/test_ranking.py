"""Scores stay in their bounds and order, and explanations say what they rest on."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving import ranking
from warehouse.queries.evidence import Facts

UNIT = st.floats(0, 1)


def facts(**fields: Any) -> Facts:
    values: dict[str, Any] = {
        "pk": 1,
        "id": "x",
        "name": "Name",
        "version": None,
        "author": None,
        "tags": [],
        "trained_words": [],
        "triggers": [],
        "activation_text": None,
        "archetype": None,
        "base_model": None,
        "downloads": None,
        "civitai_model_id": None,
        "file_state": "present",
        "preview_path": None,
    }
    return Facts(**(values | fields))


def always(_: str) -> float:
    return 1.0


@given(UNIT, UNIT, UNIT, UNIT)
def test_the_final_score_lies_between_similarity_and_one(similarity: float, a: float, b: float, c: float) -> None:
    final = ranking.final_score(similarity, a, b, c)
    assert similarity - 1e-9 <= final <= 1


@given(UNIT, UNIT)
def test_boosts_never_lift_the_unlike_over_the_alike(quality: float, popularity: float) -> None:
    boosted = ranking.final_score(0.5, 0, quality * ranking.QUALITY_LIMIT, popularity * ranking.POPULARITY_LIMIT)
    assert boosted < ranking.final_score(0.55, 0, 0, 0)


@given(st.one_of(st.none(), st.integers(-10, 10**12)))
def test_popularity_is_bounded(downloads: int | None) -> None:
    assert 0 <= ranking.popularity_boost(downloads) <= ranking.POPULARITY_LIMIT


@given(st.one_of(st.none(), st.integers(0, 10**9)), st.integers(1, 10**6))
def test_use_together_is_bounded_and_more_is_worth_no_less(uses: int | None, more: int) -> None:
    boost = ranking.together_boost(uses)
    assert 0 <= boost <= ranking.TOGETHER_LIMIT
    assert boost <= ranking.together_boost((uses or 0) + more)
    assert (boost == 0) == (not uses)


@pytest.mark.parametrize(
    ("uses", "words"), [(1, "; used together once."), (7, "; used together 7 times."), (1234, "1,234 times.")]
)
def test_use_together_is_explained(uses: int, words: str) -> None:
    shared = ranking.Shared(used_together=uses)
    assert ranking.explain(dict.fromkeys(("semantic", "artistic", "technical"), 0.5), shared, to_prompt=False).endswith(
        words
    )


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_rarity_is_a_share(count: int, total: int) -> None:
    assert 0 <= ranking.rarity_of(count, total) <= 1


def test_what_everything_has_says_nothing() -> None:
    assert ranking.rarity_of(1000, 1000) == 0
    assert ranking.rarity_of(1, 1000) == 1


@pytest.mark.parametrize(
    ("text", "phrase", "there"),
    [
        ("a red dragon flies", "red dragon", True),
        ("a redder dragon", "red", False),
        ("sci-fi city", "sci-fi", True),
        ("画水墨山水", "水墨", True),
        ("画水墨山水", "火", False),
        ("x", "!!!", False),
        ("Straße", "strasse", True),
    ],
)
def test_phrases_are_found_as_wholes(text: str, phrase: str, there: bool) -> None:
    assert ranking.Words(text).have(phrase) is there


def test_words_in_common_are_worth_at_most_their_limit() -> None:
    many = facts(tags=[f"t{n}" for n in range(50)], trained_words=["w1", "w2", "w3", "w4"])
    words = ranking.Words(" ".join([*many.tags, *many.trained_words]))
    shared = ranking.shared_with_prompt(words, many, always, always)
    assert shared.worth == ranking.LEXICAL_LIMIT
    assert len(shared.tags) == 50


def test_what_two_adapters_share_is_named() -> None:
    target = facts(tags=["Dragon", "ink"], triggers=["zxq"], author="me", base_model="Pony", archetype="style")
    other = facts(tags=["dragon"], triggers=["ZXQ"], author="me", base_model="SDXL 1.0", archetype="style")
    shared = ranking.shared_with_adapter(target, other, always, always)
    assert (shared.tags, shared.triggers, shared.author, shared.base_model) == (["dragon"], ["ZXQ"], "me", None)
    sentence = ranking.explain({"semantic": 0.8, "artistic": 0.5, "technical": 0.1}, shared, to_prompt=False)
    assert sentence.startswith("Similar in what it is (0.80) and how it looks (0.50); shares the trigger ZXQ, ")
    assert "same author me, archetype style" in sentence


def test_words_in_common_that_say_little_by_themselves_are_told_of_all_the_same() -> None:
    apart = dict.fromkeys(("semantic", "artistic", "technical"), 0.0)
    told = ranking.explain(apart, ranking.Shared(worth=0.1), to_prompt=True)
    assert told == "Only loosely similar; words of the prompt stand in its description or example prompts."
    assert ranking.explain(apart, ranking.Shared(worth=0.01), to_prompt=True) == "Only loosely similar."
    assert "words of the prompt" not in ranking.explain(apart, ranking.Shared(tags=["ink"], worth=0.1), to_prompt=True)


def test_unknown_is_not_the_same_as_unknown() -> None:
    shared = ranking.shared_with_adapter(facts(name="A"), facts(name="B"), always, always)
    assert (shared.author, shared.base_model, shared.worth) == (None, None, 0.0)


def test_diversity_trades_score_for_difference() -> None:
    scores = [0.9, 0.89, 0.5]

    def alike(one: int, other: int) -> float:
        return 1.0 if {one, other} == {0, 1} else 0.0

    assert ranking.diversified(scores, alike, diversity=0, limit=2) == [0, 1]
    assert ranking.diversified(scores, alike, diversity=0.5, limit=2) == [0, 2]
    assert ranking.diversified(scores, alike, diversity=1, limit=5) == [0, 2, 1]


def test_a_trigger_group_beside_its_parts_counts_once() -> None:
    split = facts(triggers=["good hands", "best hands"])
    both = facts(triggers=["good hands", "best hands"], trained_words=["good hands, best hands"])
    found = ranking.shared_with_adapter(both, both, always, always)
    assert found.triggers == ["best hands", "good hands"]
    assert found.worth == ranking.shared_with_adapter(split, split, always, always).worth
    unsplit = facts(trained_words=["good hands"])
    assert ranking.shared_with_adapter(unsplit, unsplit, always, always).triggers == ["good hands"]
