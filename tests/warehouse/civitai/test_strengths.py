"""The weights that example images state for their adapter: which count, and what they are together."""

import pytest

from tests.warehouse.civitai.builders import SHA_A, file_entry, merged, model, source, version
from warehouse.civitai.records import Example
from warehouse.civitai.strengths import Identity, Strengths, strengths_of

INK = Identity(name="Ink: Dragon", files=["ink_dragon-v1.safetensors"], hashes=[SHA_A, SHA_A[:10]], version_id=11)


def said(*prompts: str) -> list[Example]:
    return [Example(prompt=prompt) for prompt in prompts]


def made_with(**resource: object) -> list[Example]:
    return [Example(prompt="a dragon", resources=(resource,))]


def test_the_median_and_the_quartiles_of_what_is_stated() -> None:
    weights = (0.5, 0.6, 0.7, 0.8, 1.0)
    found = strengths_of(said(*(f"a dragon <lora:ink_dragon-v1:{weight}>" for weight in weights), "no tag"), INK)
    assert found == Strengths(count=5, median=0.7, low=0.6, high=0.8)


def test_one_image_is_its_own_quartiles() -> None:
    assert strengths_of(said("<lora:ink_dragon-v1:0.65>"), INK) == Strengths(count=1, median=0.65, low=0.65, high=0.65)


@pytest.mark.parametrize(
    "tag",
    [
        "<lora:ink_dragon-v1:0.7>",
        "<lora:Ink_Dragon-V1:0.7>",
        "<lora:ink dragon v1:0.7>",
        "<lora:styles/ink_dragon-v1:0.7>",
        "<lora:styles\\ink_dragon-v1.safetensors:0.7>",
        "<lora:ink_dragon-v1-000012:0.7>",
        "<lyco:ink_dragon-v1:0.7>",
        "< LoRA : ink_dragon-v1 :0.7>",
        "<lora:ink_dragon-v1:0.7:NP>",
        "<lora:ink_dragon-v1:1:0.7>",
        "<lora:ink_dragon-v1:te=1:unet=0.7>",
        "<lora:other:1> <lora:ink_dragon-v1:0.7> <lora:ink_dragon-v1:0.2>",
    ],
)
def test_a_tag_names_the_file_however_it_is_spelled(tag: str) -> None:
    found = strengths_of(said(tag), INK)
    assert found is not None
    assert (found.count, found.median) == (1, 0.7)


def test_a_tag_may_name_the_adapter() -> None:
    assert strengths_of(said("<lora:Dragon:0.7>"), Identity(name="ink-dragon")) is None
    assert strengths_of(said("<lora:Ink Dragon:0.7>"), Identity(name="ink-dragon")) is not None


@pytest.mark.parametrize(
    "prompt",
    [
        "a dragon",
        "<lora:ink_dragon:0.7>",
        "<lora:ink_dragon-v2:0.7>",
        "<lora:ink_dragon-v1>",
        "<lora:ink_dragon-v1:>",
        "<lora:ink_dragon-v1:WEIGHT>",
        "<lora:ink_dragon-v1:0>",
        "<lora:ink_dragon-v1:80>",
        "<lora:ink_dragon-v1:nan>",
        "<lora:ink_dragon-v1:inf>",
        "<hypernet:ink_dragon-v1:0.7>",
        "<lora::0.7>",
    ],
)
def test_what_is_another_s_or_no_weight_is_no_evidence(prompt: str) -> None:
    assert strengths_of(said(prompt), INK) is None


@pytest.mark.parametrize(
    "resource",
    [
        {"name": "ink_dragon-v1", "type": "lora", "weight": 0.7},
        {"name": "INK_DRAGON-v1", "weight": 0.7},
        {"name": "anything", "hash": SHA_A[:12].upper(), "type": "lora", "weight": 0.7},
        {"name": "anything", "version_id": 11, "weight": 0.7},
    ],
)
def test_a_resource_is_known_by_name_hash_or_version(resource: dict[str, object]) -> None:
    found = strengths_of(made_with(**resource), INK)
    assert found is not None
    assert found.median == 0.7


@pytest.mark.parametrize(
    "resource",
    [
        {"name": "ink_dragon-v1", "type": "lora"},
        {"name": "ink_dragon-v1", "type": "model", "weight": 0.7},
        {"name": "ink_dragon-v1", "version_id": 12, "weight": 0.7},
        {"name": "other", "type": "lora", "weight": 0.7},
        {"type": "lora", "weight": 0.7},
        {"name": "other", "hash": SHA_A[:4], "weight": 0.7},
        {"name": "other", "hash": "ffffffffff", "weight": 0.7},
    ],
)
def test_a_resource_of_another_is_no_evidence(resource: dict[str, object]) -> None:
    assert strengths_of(made_with(**resource), INK) is None


def test_an_image_counts_once_and_its_prompt_before_its_resources() -> None:
    image = Example(
        prompt="<lora:ink_dragon-v1:0.6>", resources=({"name": "ink_dragon-v1", "type": "lora", "weight": 0.9},)
    )
    assert strengths_of([image], INK) == Strengths(count=1, median=0.6, low=0.6, high=0.6)


def test_a_document_s_examples_tell_the_strength_of_its_version() -> None:
    images = [
        {"url": "u1", "meta": {"prompt": "night <lora:lantern:0.6>"}},
        {"url": "u2", "meta": {"prompt": "night", "resources": [{"hash": SHA_A[:10], "type": "lora", "weight": 0.8}]}},
        {"url": "u3", "meta": {"prompt": "night <lora:another:1>"}},
    ]
    other = version(12, "v2.0", files=[file_entry("other.safetensors", None)], images=images[:1])
    first, second = merged(source(model(version(images=images), other))).drafts
    assert first.strengths == Strengths(count=2, median=0.7, low=0.65, high=0.75)
    assert second.strengths is None
