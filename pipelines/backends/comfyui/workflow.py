"""Graphs for ComfyUI: a template filled with the values of a generation, and a chain of LoRA loaders put into it.

Belongs here: graphs, pure. Does not: sending them (`client`).

A template is a workflow in ComfyUI's API format (its menu's "Export (API)"). `{{name}}` in it stands for a value: alone
in a string it becomes the value itself, within a text it is written into it. Where LoRAs go is said by a `LoraLoader`
whose `lora_name` is `{{loras}}`; a template without one gets them behind its only `CheckpointLoaderSimple`.
"""

import copy
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

import msgspec

Graph = dict[str, Any]
"""Node id -> `{"class_type", "inputs"}`; an input is a value, or a link `[node id, output number]`."""

_PLACE: Final = re.compile(r"\{\{\s*(\w+)\s*\}\}")
_LORAS: Final = "loras"
_LOADER: Final = "LoraLoader"
_CHECKPOINT: Final = "CheckpointLoaderSimple"
_MODEL, _CLIP = 0, 1
_MAX_NODES: Final = 2_000


class WorkflowError(ValueError):
    """A template that cannot be used; the message says what is wrong with it and what to do."""


@dataclass(frozen=True, slots=True)
class LoraNode:
    """A LoRA to load."""

    name: str
    """As ComfyUI lists it, with its extension."""
    strength_model: float
    strength_clip: float


def default_template() -> Graph:
    """Text to picture with one checkpoint."""
    text = resources.files("pipelines.backends.comfyui").joinpath("workflow.json").read_bytes()
    return read_template(text)


def read_template(raw: bytes | str) -> Graph:
    """A template from its JSON.

    Raises:
        WorkflowError: it is none.
    """
    try:
        decoded = msgspec.json.decode(raw)
    except msgspec.DecodeError as error:
        raise WorkflowError(f"the workflow is no JSON ({error}): export it with ComfyUI's 'Export (API)'") from error
    return checked_template(decoded)


def checked_template(value: Any) -> Graph:
    """A template that came as a value.

    Raises:
        WorkflowError: it is none.
    """
    if not isinstance(value, Mapping) or not value:
        raise WorkflowError("a workflow is an object of nodes by id: export it with ComfyUI's 'Export (API)'")
    if "nodes" in value and "links" in value:
        raise WorkflowError("this is a workflow as the editor saves it: use ComfyUI's 'Export (API)' instead")
    if len(value) > _MAX_NODES:
        raise WorkflowError(f"a workflow has at most {_MAX_NODES} nodes")
    for node, spec in value.items():
        if not isinstance(spec, Mapping) or not isinstance(spec.get("class_type"), str):
            raise WorkflowError(f"node {node!r} has no class_type: use ComfyUI's 'Export (API)'")
        if not isinstance(spec.get("inputs"), Mapping):
            raise WorkflowError(f"node {node!r} has no inputs")
    return {str(node): dict(spec) for node, spec in value.items()}


def places(template: Graph) -> set[str]:
    """The names that a template has places for."""
    return set(_PLACE.findall(msgspec.json.encode(template).decode()))


def fill(template: Graph, values: Mapping[str, Any], loras: Sequence[LoraNode]) -> Graph:
    """The graph of a generation.

    Args:
        template: is left as it is.
        values: by the names of the template's places; a text is put in literally, whatever it holds.
        loras: in the order in which they are chained.

    Raises:
        WorkflowError: the template has a place that no value is for, or none for LoRAs.
    """
    graph = copy.deepcopy(template)
    _chain(graph, loras)
    for node, spec in graph.items():
        spec["inputs"] = {name: _filled(value, values, f"{node}.{name}") for name, value in spec["inputs"].items()}
    return graph


def _filled(value: Any, values: Mapping[str, Any], where: str) -> Any:
    if not isinstance(value, str):
        return value

    def find(match: re.Match[str]) -> Any:
        name = match.group(1)
        if name not in values:
            known = ", ".join(sorted(values))
            raise WorkflowError(f"{where} asks for {{{{{name}}}}}, which is none of the values there are: {known}")
        return values[name]

    whole = _PLACE.fullmatch(value.strip())
    if whole is not None:
        return find(whole)
    return _PLACE.sub(lambda match: str(find(match)), value)


def _chain(graph: Graph, loras: Sequence[LoraNode]) -> None:
    """Put one loader for each LoRA where the template says; without LoRAs what follows is linked to what precedes."""
    marked = [
        node
        for node, spec in graph.items()
        if isinstance(spec["inputs"].get("lora_name"), str)
        and (found := _PLACE.fullmatch(spec["inputs"]["lora_name"].strip())) is not None
        and found.group(1) == _LORAS
    ]
    if len(marked) > 1:
        raise WorkflowError(f"more than one node has the place of LoRAs ({', '.join(marked)}): keep one")
    if marked:
        inputs = graph.pop(marked[0])["inputs"]
        model, clip = inputs.get("model"), inputs.get("clip")
        if not _is_link(model) or not _is_link(clip):
            raise WorkflowError(f"node {marked[0]!r} has the place of LoRAs, but model or clip is not linked")
        before = marked[0]
    elif loras:
        checkpoints = [node for node, spec in graph.items() if spec["class_type"] == _CHECKPOINT]
        if len(checkpoints) != 1:
            raise WorkflowError(
                f"the workflow does not say where LoRAs go: add a {_LOADER} with the lora_name {{{{{_LORAS}}}}}"
            )
        before = checkpoints[0]
        model, clip = [before, _MODEL], [before, _CLIP]
    else:
        return
    followers = list(graph)
    ends = {_MODEL: model, _CLIP: clip}
    for number, lora in enumerate(loras, 1):
        node = _unused(graph, f"lora-{number}")
        graph[node] = {
            "class_type": _LOADER,
            "inputs": {
                "model": ends[_MODEL],
                "clip": ends[_CLIP],
                "lora_name": lora.name,
                "strength_model": lora.strength_model,
                "strength_clip": lora.strength_clip,
            },
        }
        ends = {_MODEL: [node, _MODEL], _CLIP: [node, _CLIP]}
    for follower in followers:
        inputs = graph[follower]["inputs"]
        for name, value in inputs.items():
            if _is_link(value) and value[0] == before and value[1] in ends:
                inputs[name] = ends[value[1]]


def _is_link(value: Any) -> bool:
    return isinstance(value, list) and len(value) == 2 and isinstance(value[0], str) and isinstance(value[1], int)


def _unused(graph: Graph, wanted: str) -> str:
    node = wanted
    while node in graph:
        node = f"{node}_"
    return node
