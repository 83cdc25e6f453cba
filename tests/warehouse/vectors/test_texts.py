"""What is embedded of an adapter: the words that tell it apart, without those that all prompts share."""

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warehouse.vectors.facts import AdapterFacts
from warehouse.vectors.loading import quality_score
from warehouse.vectors.spaces import SPACES, default_weights, prompt_weights, space_of
from warehouse.vectors.texts import (
    MAX_TEXT,
    artistic_text,
    prompt_fragments,
    prompt_text,
    semantic_text,
    technical_text,
    text_digest,
)


def test_lora_tags_emphasis_and_noise_are_left_out_of_prompts() -> None:
    prompt = "masterpiece, <lora:Ink_v2:0.8>, (red fox:1.2), [[snow]], best quality BREAK misty forest, score_9"
    assert prompt_fragments(prompt) == ["red fox", "snow", "misty forest"]


def test_a_prompt_of_nothing_but_noise_is_still_a_question() -> None:
    assert prompt_text("masterpiece, best quality") == "masterpiece, best quality"
    assert prompt_text("") == ""


def test_semantic_text_says_what_it_is() -> None:
    facts = AdapterFacts(
        name="Snow_Fox-Style",
        version="v2.0",
        tags=("animal", "fox"),
        archetype="animal",
        description="A white fox.\n\n雪狐 🦊",
    )
    assert semantic_text(facts) == "Snow Fox Style. animal, fox. A white fox. 雪狐 🦊"
    named = AdapterFacts(name="Fox", version="Winter edition")
    assert "Winter edition" in semantic_text(named)


def test_artistic_text_puts_first_what_the_examples_share() -> None:
    facts = AdapterFacts(
        name="x", trained_words=("inkstyle",), prompts=("a dog, soft ink wash", "a cat, soft ink wash")
    )
    assert artistic_text(facts) == "inkstyle, soft ink wash, a dog, a cat"


def test_artistic_text_of_an_adapter_without_prompts_falls_back() -> None:
    assert artistic_text(AdapterFacts(name="x", training_tags={"rare": 1, "common": 9})) == "common, rare"
    assert artistic_text(AdapterFacts(name="Ink_Wash", tags=("style",))) == "style, Ink Wash"


def test_technical_text_says_what_is_known_and_nothing_else() -> None:
    facts = AdapterFacts(
        name="x",
        base_model="SDXL 1.0",
        network_type="lora",
        rank=16,
        alpha=8.0,
        training={"optimizer": "a.AdamW8bit(w=1)"},
    )
    assert technical_text(facts) == "base model SDXL 1.0, network lora, rank 16, alpha 8, optimizer a.AdamW8bit"
    assert technical_text(AdapterFacts(name="x")) == "unknown"


def test_quality_is_the_share_of_what_is_known() -> None:
    assert quality_score(AdapterFacts(name="x")) == 0
    everything = AdapterFacts(
        name="x", description="d", tags=("t",), triggers=("w",), prompts=("p",), base_model="SD 1.5", rank=4
    )
    assert quality_score(everything) == 1


def test_an_unknown_space_is_named_with_those_there_are() -> None:
    with pytest.raises(LookupError, match="semantic, artistic, technical"):
        space_of("stylistic")
    assert sum(default_weights().values()) == pytest.approx(1)
    assert sum(prompt_weights().values()) == pytest.approx(1)


_text = st.text(max_size=200)
_facts = st.builds(
    AdapterFacts,
    name=_text,
    version=st.none() | _text,
    description=st.none() | _text,
    tags=st.lists(_text, max_size=4).map(tuple),
    trained_words=st.lists(_text, max_size=4).map(tuple),
    prompts=st.lists(_text, max_size=4).map(tuple),
    training=st.dictionaries(st.sampled_from(["optimizer", "steps"]), st.none() | st.integers() | _text),
)


@given(_facts)
def test_any_facts_give_bounded_texts(facts: AdapterFacts) -> None:
    assert {field.name for field in fields(facts)}
    for space in SPACES:
        text = space.text(facts)
        assert len(text) <= MAX_TEXT
        assert len(text_digest(text)) == 32


@given(st.text(max_size=3000))
def test_any_prompt_is_cleaned_without_a_lora_tag_left(prompt: str) -> None:
    assert all("<lora:x:" not in fragment for fragment in prompt_fragments(f"<lora:x:1>{prompt}"))
