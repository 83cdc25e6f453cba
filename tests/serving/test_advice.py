"""Answers for single adapters become one for the whole stack."""

from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.advice import PAIRS_TOLD, Advice, Permission, advise, effective, scale
from serving.composition import NAMED, Member, compose
from warehouse import compatibility
from warehouse.civitai.values import COMMERCIAL_USES

FREE = {
    "allow_no_credit": True,
    "allow_commercial_use": list(COMMERCIAL_USES),
    "allow_derivatives": True,
    "allow_different_license": True,
    "text": None,
}


def stack(*parts: dict[str, Any]) -> Advice:
    """Advice on adapters named A, B, C, …, with ids a, b, c, …."""
    members = [
        Member(**{"id": chr(97 + n), "name": chr(65 + n), "base_model": "SDXL 1.0", **part})
        for n, part in enumerate(parts)
    ]
    return advise(compose(members).tokens)


def states(advice: Advice) -> dict[str, str]:
    return {name: answer.state.value for name, answer in advice.licence.permissions.items()}


def test_nothing_is_forbidden_by_nobody() -> None:
    advice = stack()
    assert set(states(advice).values()) == {"allowed"}
    assert advice.licence.credit.required is False
    assert advice.compatibility.verdict is compatibility.Verdict.FULL
    assert asdict(advice.strengths) == {
        "total_weight": 0,
        "combined_weight": 0,
        "total_effective": 0,
        "remark": None,
    }
    assert advice.warnings == ()


TRI_STATE = st.sampled_from([True, False, None, "yes", 1])


@given(st.lists(TRI_STATE, min_size=1, max_size=5))
def test_any_forbidden_forbids_and_any_unknown_is_unknown(stated: list[Any]) -> None:
    advice = stack(*({"licence": {"allow_derivatives": value}} for value in stated))
    expected = "forbidden" if False in [v for v in stated if v is not None] else "allowed"
    if expected == "allowed" and any(value is not True for value in stated):
        expected = "unknown"
    answer = advice.licence.permissions["share_merges"]
    assert answer.state == expected
    assert answer.forbidden_by == tuple(chr(97 + n) for n, value in enumerate(stated) if value is False)
    assert answer.unknown_for == tuple(chr(97 + n) for n, value in enumerate(stated) if not isinstance(value, bool))


@pytest.mark.parametrize(
    ("stated", "allowed"),
    [
        (["Image", "RentCivit"], {"sell_images", "generate_on_civitai"}),
        ([], set()),
        ("None", set()),
        ("{Image,Rent}", {"sell_images", "generate_for_money"}),
        ("Rent", {"sell_images", "generate_on_civitai", "generate_for_money"}),
        ("Sell", {"sell_images", "generate_on_civitai", "generate_for_money", "sell_model"}),
        (["Sell"], {"sell_model"}),
    ],
)
def test_commercial_uses_in_every_spelling(stated: Any, allowed: set[str]) -> None:
    found = states(stack({"licence": {**FREE, "allow_commercial_use": stated}}))
    commercial = {"sell_images", "generate_on_civitai", "generate_for_money", "sell_model"}
    assert {name for name in commercial if found[name] == "allowed"} == allowed
    assert {found[name] for name in commercial - allowed} <= {"forbidden"}


@pytest.mark.parametrize("stated", [None, "Everything", ["Lend"], 3, {"Image": True}])
def test_a_commercial_use_that_is_not_understood_is_unknown(stated: Any) -> None:
    found = stack({"licence": {**FREE, "allow_commercial_use": stated}}, {"licence": FREE})
    assert found.licence.permissions["sell_images"].state is Permission.UNKNOWN
    assert found.licence.permissions["sell_images"].unknown_for == ("a",)


def test_who_must_be_named() -> None:
    advice = stack(
        {"licence": {**FREE, "allow_no_credit": False}, "author": "brushwork"},
        {"licence": FREE, "author": "nobody"},
        {"licence": {**FREE, "allow_no_credit": False}, "author": "brushwork"},
        {"licence": {**FREE, "allow_no_credit": False}},
        {"licence": None, "author": "silent"},
    )
    assert advice.licence.credit.required is True
    assert [(each.author, each.adapter_ids) for each in advice.licence.credit.to] == [
        ("brushwork", ("a", "c")),
        (None, ("d",)),
    ]
    assert stack({"licence": FREE}, {"licence": None}).licence.credit.required is None


def test_the_words_of_a_licence_are_shown() -> None:
    advice = stack({"licence": {"text": "CC-BY-4.0"}}, {"licence": {"text": 7}}, {"licence": {"text": "x" * 9_000}})
    assert [(each.adapter_id, each.text[:9], len(each.text)) for each in advice.licence.texts] == [
        ("a", "CC-BY-4.0", 9),
        ("c", "xxxxxxxxx", 500),
    ]


def test_clashes_are_named_with_their_reason() -> None:
    advice = stack({"version": "v1"}, {"base_model": "SD 1.5"}, {"base_model": "Pony"})
    assert advice.compatibility.verdict is compatibility.Verdict.NONE
    (first, second) = advice.warnings
    assert first.startswith("Pony (C) and SD 1.5 (B) do not go together: ")
    assert second.startswith("SD 1.5 (B) and SDXL 1.0 (A (v1)) do not go together: one attends to text of width 768")
    assert [pair.relation.verdict.value for pair in advice.compatibility.pairs] == ["none", "none", "partial"]


def test_what_goes_together_partially_is_no_warning() -> None:
    advice = stack({}, {"base_model": "Pony"})
    assert advice.warnings == ()
    assert advice.compatibility.verdict is compatibility.Verdict.PARTIAL


@pytest.mark.parametrize("base_model", [None, "Other", "semi", ""])
def test_an_unknown_base_model_is_warned_of(base_model: str | None) -> None:
    advice = stack({}, {"base_model": base_model})
    (warning,) = advice.warnings
    assert warning.startswith("the base model of B is unknown")
    (use,) = [use for use in advice.compatibility.base_models if use.base_model == base_model]
    assert (use.ecosystems, use.adapter_ids) == ((), ("b",))
    assert use.note


def test_answers_are_bounded() -> None:
    names = sorted({name for names in compatibility.ECOSYSTEMS.values() for name in names})
    members = [Member(id=name, name=f"Adapter {name}", base_model=name) for name in names]
    members.extend(Member(id=f"{n}", name=f"Unknown {n}", base_model=f"unknown {n}") for n in range(50))
    advice = advise(compose(members).tokens)
    assert len(advice.compatibility.pairs) == PAIRS_TOLD
    assert advice.compatibility.pairs_left_out > 1_000
    assert len(advice.warnings) == 2 * (NAMED + 1)


@pytest.mark.parametrize(
    ("network_type", "rank", "alpha", "expected"),
    [
        ("lora", 32, 16.0, 0.5),
        ("locon", 8, 8.0, 1.0),
        ("lora", 4, 0.0, 0.0),
        ("lora", None, 16.0, None),
        ("lora", 32, None, None),
        ("lora", 0, 16.0, None),
        ("lora", 32, float("inf"), None),
        ("lokr", 32, 16.0, None),
        ("oft", 32, 16.0, None),
        (None, 32, 16.0, None),
    ],
)
def test_scale(network_type: str | None, rank: int | None, alpha: float | None, expected: float | None) -> None:
    assert scale(network_type, rank, alpha) == expected


def test_effective_strengths() -> None:
    advice = stack({"weight": 0.8, "scale": 0.5}, {"weight": -0.5, "scale": 2.0})
    assert asdict(advice.strengths) == {
        "total_weight": 1.3,
        "combined_weight": 0.943,
        "total_effective": 1.4,
        "remark": None,
    }
    assert stack({"scale": 0.5}, {}).strengths.total_effective is None
    (token,) = compose([Member("a", "A", weight=-0.5, scale=2.0)]).tokens
    assert effective(token) == -1.0


@pytest.mark.parametrize(
    ("weights", "remarked"),
    [
        ([1, 1, 1, 1], False),
        ([1, 1, 1, 1, 1], True),
        ([2], False),
        ([-2, 1], True),
        ([3, 1], False),
        ([0.8] * 6, False),
    ],
)
def test_a_stack_beyond_the_bound_of_one_adapter_is_remarked_on(weights: list[float], remarked: bool) -> None:
    advice = stack(*({"weight": weight} for weight in weights))
    assert (advice.strengths.remark is not None) is remarked
    assert advice.warnings == ()
