"""What ComfyUI tells over its WebSocket while it works on a graph, as progress that only rises.

Belongs here: reading messages, pure. Does not: the connection (`client`). The end of a graph is never read here: a
graph that was computed before is done before anybody listens, so the history alone says how it ended.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from pipelines.backends.comfyui.workflow import Graph

_UNFINISHED: Final = 0.99
_PREVIEW, _PREVIEW_WITH_METADATA = 1, 4


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a graph is."""

    fraction: float
    """0..1, never less than before."""
    step: int
    steps: int


class ProgressMeter:
    """Follows one graph."""

    def __init__(self, prompt_id: str, graph: Graph) -> None:
        self._prompt_id = prompt_id
        self._nodes = max(1, len(graph))
        self._samplers = {node for node, spec in graph.items() if "steps" in spec["inputs"]}
        self._started: set[str] = set()
        self._sampled: dict[str, float] = {}
        self._fraction = 0.0
        self._step = self._steps = 0
        self.is_over = False
        """Whether the server said that it is done with the graph; the history says how."""

    def read(self, message: str) -> Progress | None:
        """What a text message means; None where it is of another graph, or says nothing new."""
        try:
            said = msgspec.json.decode(message)
        except msgspec.DecodeError:
            return None
        data = said.get("data") if isinstance(said, Mapping) else None
        if not isinstance(data, Mapping) or data.get("prompt_id") != self._prompt_id:
            return None
        return self._take(said.get("type"), data)

    def _take(self, kind: Any, data: Mapping[str, Any]) -> Progress | None:
        node = data.get("node")
        if kind in ("execution_success", "execution_error", "execution_interrupted"):
            self.is_over = True
            return None
        if kind == "executing":
            # No node: the graph is done.
            self.is_over = self.is_over or node is None
            if isinstance(node, str):
                self._started.add(node)
        elif kind == "progress" and isinstance(node, str):
            value, most = data.get("value"), data.get("max")
            if not isinstance(value, int | float) or not isinstance(most, int | float) or not 0 <= value <= most:
                return None
            self._step, self._steps = int(value), int(most)
            self._sampled[node] = value / most if most else 0.0
        else:
            return None
        return self._risen()

    def _risen(self) -> Progress:
        if self._samplers:
            share = sum(self._sampled.get(node, 0.0) for node in self._samplers) / len(self._samplers)
        else:
            share = len(self._started) / self._nodes
        self._fraction = max(self._fraction, min(share, _UNFINISHED))
        return Progress(self._fraction, self._step, self._steps)


def preview_of(message: bytes) -> bytes | None:
    """The picture of a binary message; None where it holds none."""
    if len(message) < 8:
        return None
    (event,) = struct.unpack(">I", message[:4])
    if event == _PREVIEW:
        return message[8:]
    if event == _PREVIEW_WITH_METADATA:
        (length,) = struct.unpack(">I", message[4:8])
        return message[8 + length :]
    return None
