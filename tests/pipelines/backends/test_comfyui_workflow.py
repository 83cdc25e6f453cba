"""Graphs: places filled literally, LoRAs chained where the template says."""

import json
from typing import Any

import pytest

from pipelines.backends.comfyui.workflow import LoraNode, WorkflowError, default_template, fill, places, read_template

VALUES: dict[str, Any] = {
    "checkpoint": "tiny.safetensors",
    "prompt": 'a "{{seed}}" \\ dragon',
    "negative_prompt": "",
    "width": 64,
    "height": 64,
    "batch_size": 1,
    "seed": 7,
    "steps": 4,
    "cfg_scale": 6.5,
    "sampler_name": "euler",
    "scheduler": "normal",
    "clip_stop": -1,
}
LORAS = [LoraNode("a.safetensors", 0.5, 0.25), LoraNode("b.safetensors", -1.0, -1.0)]


def test_the_default_template_is_filled_with_values_of_their_type() -> None:
    graph = fill(default_template(), VALUES, LORAS)
    assert graph["sampler"]["inputs"]["steps"] == 4
    assert graph["positive"]["inputs"]["text"] == VALUES["prompt"], "a text is put in literally"
    assert "{{" not in json.dumps({**graph, "positive": None})


def test_loras_are_chained_and_what_follows_is_linked_to_the_last() -> None:
    graph = fill(default_template(), VALUES, LORAS)
    assert graph["lora-1"]["inputs"] == {
        "model": ["checkpoint", 0],
        "clip": ["checkpoint", 1],
        "lora_name": "a.safetensors",
        "strength_model": 0.5,
        "strength_clip": 0.25,
    }
    assert graph["lora-2"]["inputs"]["model"] == ["lora-1", 0]
    assert graph["sampler"]["inputs"]["model"] == ["lora-2", 0]
    assert graph["skip"]["inputs"]["clip"] == ["lora-2", 1]
    assert graph["decoded"]["inputs"]["vae"] == ["checkpoint", 2]
    assert "loras" not in graph


def test_without_loras_what_follows_is_linked_to_what_precedes() -> None:
    graph = fill(default_template(), VALUES, [])
    assert graph["sampler"]["inputs"]["model"] == ["checkpoint", 0]
    assert not any(spec["class_type"] == "LoraLoader" for spec in graph.values())


def test_a_template_without_a_place_gets_them_behind_its_only_checkpoint() -> None:
    template = {
        "lora-1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "x"}},
        "2": {"class_type": "KSampler", "inputs": {"model": ["lora-1", 0], "vae": ["lora-1", 2]}},
    }
    graph = fill(read_template(json.dumps(template)), {}, LORAS[:1])
    (loader,) = [node for node, spec in graph.items() if spec["class_type"] == "LoraLoader"]
    assert loader != "lora-1"
    assert graph["2"]["inputs"] == {"model": [loader, 0], "vae": ["lora-1", 2]}
    assert graph[loader]["inputs"]["model"] == ["lora-1", 0]


def test_a_template_is_left_as_it_is() -> None:
    template = default_template()
    before = json.dumps(template)
    fill(template, VALUES, LORAS)
    assert json.dumps(template) == before


def test_places_are_named() -> None:
    assert {"prompt", "seed", "loras"} <= places(default_template())


@pytest.mark.parametrize(
    ("raw", "word"),
    [
        ("{", "no JSON"),
        ("[]", "object of nodes"),
        ("{}", "object of nodes"),
        ('{"nodes": [], "links": []}', "Export"),
        ('{"1": {"inputs": {}}}', "class_type"),
        ('{"1": {"class_type": "KSampler"}}', "no inputs"),
    ],
)
def test_what_is_no_template_is_told(raw: str, word: str) -> None:
    with pytest.raises(WorkflowError, match=word):
        read_template(raw)


@pytest.mark.parametrize(
    ("template", "word"),
    [
        ({"1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "{{nonesuch}}"}}}, "nonesuch"),
        ({"1": {"class_type": "X", "inputs": {}}}, "where LoRAs go"),
        ({"1": {"class_type": "LoraLoader", "inputs": {"lora_name": "{{loras}}"}}}, "not linked"),
        (
            {
                name: {"class_type": "LoraLoader", "inputs": {"lora_name": "{{loras}}", "model": "x", "clip": "y"}}
                for name in "ab"
            },
            "keep one",
        ),
    ],
)
def test_a_template_that_cannot_be_filled_is_told(template: dict[str, Any], word: str) -> None:
    with pytest.raises(WorkflowError, match=word):
        fill(read_template(json.dumps(template)), {}, LORAS)
