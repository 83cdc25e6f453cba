"""The rules of a composed prompt hold for whatever there is to compose."""

import random
import re
import sys
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from serving.composition import MANY_TOKENS, NAMED, Member, compose, format_weight, order
from warehouse import prompts
from warehouse.civitai.names import clean_name
from warehouse.prompts import LoraTag

NAMES = st.text(min_size=1, max_size=30).map(clean_name).filter(bool)
WEIGHTS = st.one_of(
    st.floats(-3, 3), st.sampled_from([0.0, -0.0, 0.0004, -0.0004, 1.0, 0.75, 1 / 3, 2.0005]), st.floats(-9e5, 9e5)
)
ORDINALS = st.one_of(st.none(), st.integers(-3, 3))


@st.composite
def stacks(draw: st.DrawFn, *, least: int = 0) -> list[Member]:
    """Adapters with few names, so that names, ordinals and weights meet."""
    names = draw(st.lists(NAMES, min_size=1, max_size=4))
    count = draw(st.integers(least, 8))
    return [
        Member(
            id=f"{number:04d}",
            name=draw(st.sampled_from(names)),
            weight=draw(WEIGHTS),
            ordinal=draw(ORDINALS),
            trigger_text=draw(st.one_of(st.none(), st.text(max_size=20), st.just("<lora:other:1> ink, <lora:x>"))),
        )
        for number in range(count)
    ]


@given(stacks(), st.text(max_size=40), st.text(max_size=40), st.booleans())
def test_what_is_composed_is_read_back(stack: list[Member], prefix: str, suffix: str, triggers: bool) -> None:
    assume("<" not in prefix + suffix)
    made = compose(stack, prefix=prefix, suffix=suffix, include_triggers=triggers)
    read = prompts.lora_tags(made.prompt)
    assert read == tuple(LoraTag("lora", token.member.name, token.weight) for token in made.tokens)


@given(stacks())
def test_the_parser_of_prompts_reads_the_same(stack: list[Member]) -> None:
    made = compose(stack, prefix="a castle", suffix="at night")
    parsed = prompts.parse(made.prompt)
    assert [(tag.name, tag.weight) for tag in parsed.tags] == [(t.member.name, t.weight) for t in made.tokens]
    assert {"a castle", "at night"} >= set(parsed.pieces) if made.tokens else parsed.pieces == ("a castle at night",)


@given(stacks(), st.text(max_size=20), st.randoms())
def test_the_order_given_means_nothing(stack: list[Member], prefix: str, source: random.Random) -> None:
    shuffled = list(stack)
    source.shuffle(shuffled)
    assert compose(shuffled, prefix=prefix, include_triggers=True) == compose(
        stack, prefix=prefix, include_triggers=True
    )


@given(stacks())
def test_explicit_ordinals_come_first_then_names_then_ids(stack: list[Member]) -> None:
    members = [token.member for token in compose(stack).tokens]
    explicit = [member for member in members if member.ordinal is not None]
    assert members[: len(explicit)] == explicit
    assert [m.ordinal for m in explicit] == sorted(m.ordinal for m in explicit if m.ordinal is not None)
    for first, second in pairwise(members):
        if first.ordinal == second.ordinal:
            assert (first.name, first.id) < (second.name, second.id)


@given(stacks())
def test_a_name_has_one_token_with_its_largest_weight(stack: list[Member]) -> None:
    made = compose(stack)
    assert sorted(token.member.name for token in made.tokens) == sorted({member.name for member in stack})
    for token in made.tokens:
        rivals = [member for member in stack if member.name == token.member.name]
        assert token.member.weight == max(member.weight for member in rivals)
        assert token.member == min((m for m in rivals if m.weight == token.member.weight), key=order)
    told = sum("is left out" in warning for warning in made.warnings)
    assert told == len(stack) - len(made.tokens)


@given(stacks(), st.booleans())
def test_composing_what_was_composed_changes_nothing(stack: list[Member], triggers: bool) -> None:
    made = compose(stack, include_triggers=triggers)
    again = compose([replace(t.member, weight=t.weight) for t in made.tokens], include_triggers=triggers)
    assert (again.prompt, [t.text for t in again.tokens]) == (made.prompt, [t.text for t in made.tokens])
    assert not any("is left out" in warning for warning in again.warnings)


@given(stacks(), st.text(max_size=20), st.text(max_size=20))
def test_the_prompt_is_prefix_tokens_and_suffix_with_one_space_between(
    stack: list[Member], prefix: str, suffix: str
) -> None:
    made = compose(stack, prefix=prefix, suffix=suffix)
    parts = [prefix] * bool(prefix.strip()) + [t.text for t in made.tokens] + [suffix] * bool(suffix.strip())
    assert made.prompt == " ".join(parts)


@given(st.floats(allow_nan=False, allow_infinity=False))
@example(sys.float_info.max)
@example(5e-324)
@example(-0.0)
@example(1e21)
def test_a_weight_has_one_way_to_be_written(weight: float) -> None:
    text = format_weight(weight)
    assert re.fullmatch(r"0|-?0\.\d{0,2}[1-9]|-?[1-9]\d*(\.\d{0,2}[1-9])?", text, re.ASCII)
    assert abs(float(text) - weight) <= max(0.0005, abs(weight) * 1e-15)
    assert format_weight(float(text)) == text


@pytest.mark.parametrize(
    ("weight", "text"),
    [
        (1, "1"),
        (0.75, "0.75"),
        (0.5, "0.5"),
        (1.0, "1"),
        (-0.0004, "0"),
        (100, "100"),
        (1.2345, "1.234"),
        (-1.5, "-1.5"),
    ],
)
def test_weights_as_they_are_usually_written(weight: float, text: str) -> None:
    assert format_weight(weight) == text


def test_the_whole_of_it() -> None:
    stack = [
        Member("4", "水墨画", weight=0.75, trigger_text="ink wash"),
        Member("3", "Кот", ordinal=5, trigger_text="ink wash"),
        Member("2", "Ink Dragon", "v2", weight=0.8, ordinal=0, trigger_text="<lora:Ink Dragon:1> inkdragon, scales,"),
        Member("1", "Ink Dragon", "v1", weight=0.5, ordinal=-1, trigger_text="old"),
    ]
    made = compose(stack, prefix="masterpiece, ", suffix="at night", include_triggers=True)
    assert made.prompt == (
        "masterpiece,  <lora:Ink Dragon:0.8> <lora:Кот:1> <lora:水墨画:0.75> inkdragon, scales, ink wash at night"
    )
    (warning,) = made.warnings
    assert warning.startswith("Ink Dragon (v1) at weight 0.5 is left out")
    assert warning.endswith("Ink Dragon (v2) at weight 0.8 stays")


@pytest.mark.parametrize(
    ("member", "said"),
    [
        (Member("1", "A", weight=0), "A has the weight 0"),
        (Member("1", "A", weight=-0.0001), "A has the weight 0"),
        (Member("1", "A", "v1", weight=2.001), "A (v1) has the weight 2.001: beyond ±2"),
        (Member("1", "A", weight=-2.5), "A has the weight -2.5: beyond ±2"),
        (Member("1", "A", file_state="missing"), "the file of A is missing"),
        (Member("1", "A", file_state="remote"), "the file of A is missing"),
        (Member("1", "A", file_state="invalid"), "the file of A is invalid"),
        (Member("1", "A", file_state="elsewhere"), "the file of A is in the state elsewhere"),
    ],
)
def test_what_is_warned_of(member: Member, said: str) -> None:
    (warning,) = compose([member]).warnings
    assert warning.startswith(said)


@pytest.mark.parametrize("weight", [2, -2, 2.0004, 0.001, 1])
def test_usual_weights_are_not_warned_of(weight: float) -> None:
    assert compose([Member("1", "A", weight=weight)]).warnings == ()


def test_a_tag_in_the_prefix_stays_and_is_warned_of() -> None:
    made = compose([Member("1", "A")], prefix="<lora:A:0.5> <hypernet:B:1>")
    assert made.prompt == "<lora:A:0.5> <hypernet:B:1> <lora:A:1>"
    assert made.warnings == ("A has a token of its own in the prefix or suffix: it is applied twice",)


def test_warnings_of_a_kind_are_bounded() -> None:
    made = compose([Member(f"{number:04d}", f"A{number:04d}", weight=0) for number in range(NAMED + 5)])
    assert len([warning for warning in made.warnings if "the weight 0" in warning]) == NAMED + 1
    assert "5 more adapters have the weight 0" in made.warnings


def test_very_many_tokens_are_warned_of() -> None:
    many = [Member(f"{number:04d}", f"A{number:04d}") for number in range(MANY_TOKENS)]
    assert compose(many[1:]).warnings == ()
    assert compose(many).warnings == ("the prompt holds 30 tokens: deactivate the adapters that are not meant",)
