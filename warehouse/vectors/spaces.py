"""The three spaces in which adapters are compared: what they are, how they look, and what they are made of.

Belongs here: the declared table of spaces. Does not: their texts (`texts`) and vectors (`work`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from warehouse.settings import Settings
from warehouse.vectors import texts
from warehouse.vectors.facts import AdapterFacts


class SpaceName(StrEnum):
    """Names of the spaces, as in `embeddings.embedding_type` and in the weights of a question."""

    SEMANTIC = "semantic"
    ARTISTIC = "artistic"
    TECHNICAL = "technical"


@dataclass(frozen=True, slots=True)
class Space:
    """A space: its weights where a question names none, and the text of an adapter in it.

    `default_weight` is for the likeness of two adapters, `prompt_weight` for a prompt: of 786 real prompts held out of
    1,144 adapters, 0.85 find theirs among the first ten at (0.3, 0.6, 0.1), and 0.75 at (0.6, 0.3, 0.1).

    `text_version` changes whenever `text` would give another text for the same facts.
    """

    name: SpaceName
    description: str
    default_weight: float
    prompt_weight: float
    text: Callable[[AdapterFacts], str]
    text_version: str

    def model_name(self, settings: Settings) -> str:
        """The model that the settings name for this space."""
        name: str = getattr(settings, f"embedding_model_{self.name}")
        return name


SPACES: tuple[Space, ...] = (
    Space(
        SpaceName.SEMANTIC,
        "What an adapter is: its name, tags, trigger words and description.",
        0.6,
        0.3,
        texts.semantic_text,
        texts.VERSION,
    ),
    Space(
        SpaceName.ARTISTIC,
        "How its pictures look: trained words and the prompts of its example images.",
        0.3,
        0.6,
        texts.artistic_text,
        texts.VERSION,
    ),
    Space(
        SpaceName.TECHNICAL,
        "What it is made of: base model, network type, rank, resolution, training facts.",
        0.1,
        0.1,
        texts.technical_text,
        texts.VERSION,
    ),
)
"""Every space, in the order in which their vectors are concatenated in the index."""


def space_of(name: str) -> Space:
    """The space of a name.

    Raises:
        LookupError: there is none; names those that there are.
    """
    for space in SPACES:
        if space.name == name:
            return space
    raise LookupError(f"{name!r} is no embedding space: choose {', '.join(space.name for space in SPACES)}")


def default_weights() -> Mapping[SpaceName, float]:
    """The weights of a question that names none."""
    return {space.name: space.default_weight for space in SPACES}


def prompt_weights() -> Mapping[SpaceName, float]:
    """The weights of a prompt that comes without any."""
    return {space.name: space.prompt_weight for space in SPACES}
