"""How much a candidate is like what a holder of a key uses: bounded, ordered, and said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.preferences import PREFERENCE_LIMIT, Liked, explained, liked
from tests.serving.test_ranking import facts
from warehouse.learning import Profile

SHARE = st.floats(0, 1)
PROFILE = Profile(
    tags={"dragon": 0.5, "ink": 0.2}, authors={"brush": 0.4}, archetypes={"style": 0.3}, base_models={}, confidence=0.5
)


def test_of_whom_nothing_is_known_nothing_is_raised() -> None:
    assert liked(None, facts(tags=["dragon"], author="brush")) == Liked(0.0, [])
    assert liked(Profile(), facts(tags=["dragon"], author="brush", archetype="style", base_model="Pony")).boost == 0


@given(st.dictionaries(st.sampled_from("abcdef"), SHARE), SHARE, SHARE, SHARE, SHARE)
def test_it_is_bounded(tags: dict[str, float], author: float, archetype: float, base: float, confidence: float) -> None:
    profile = Profile(tags, {"me": author}, {"style": archetype}, {"Pony": base}, confidence)
    candidate = facts(tags=list("abcdef"), author="me", archetype="style", base_model="Pony")
    assert 0 <= liked(profile, candidate).boost <= PREFERENCE_LIMIT * confidence


def test_more_in_common_is_worth_more() -> None:
    candidates = [
        facts(),
        facts(archetype="style"),
        facts(archetype="style", tags=["Ink"]),
        facts(archetype="style", tags=["Ink", "Dragon"]),
        facts(archetype="style", tags=["Ink", "Dragon"], author="brush"),
    ]
    boosts = [liked(PROFILE, candidate).boost for candidate in candidates]
    assert boosts[0] == 0
    assert boosts == sorted(set(boosts))


def test_unknown_is_nobody_s_author() -> None:
    assert liked(PROFILE, facts(author=None, archetype=None, base_model=None)).boost == 0


def test_what_is_liked_is_said_the_most_telling_first() -> None:
    found = liked(PROFILE, facts(tags=["Ink", "Dragon"], author="brush", archetype="style"))
    assert found.reasons == ["tag Dragon", "author brush", "tag Ink"]
    assert explained("Only loosely similar.", found) == (
        "Only loosely similar; like what you use (tag Dragon, author brush, tag Ink)."
    )


def test_what_tells_little_is_not_said() -> None:
    found = liked(PROFILE, facts(archetype="style"))
    assert found.boost > 0
    assert found.reasons == []


def test_where_nothing_is_liked_nothing_is_said() -> None:
    assert explained("Only loosely similar.", Liked()) == "Only loosely similar."


def test_a_tag_counts_once_however_often_it_is_written() -> None:
    once, twice = liked(PROFILE, facts(tags=["dragon"])), liked(PROFILE, facts(tags=["dragon", "Dragon "]))
    assert once.boost == pytest.approx(twice.boost)
