"""What is known of an adapter, as far as vectors derive from it.

Does not belong here: how it is loaded (`work`) and put into words (`texts`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterFacts:
    """The facts of one adapter; None or empty where nothing is known. `prompts` are those of its example images.

    `training` holds typed kohya values by their names, `training_tags` counts of tags over all datasets.
    """

    name: str
    version: str | None = None
    description: str | None = None
    tags: tuple[str, ...] = ()
    trained_words: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    activation_text: str | None = None
    prompts: tuple[str, ...] = ()
    author: str | None = None
    archetype: str | None = None
    base_model: str | None = None
    sd_version: str | None = None
    network_type: str | None = None
    rank: int | None = None
    alpha: float | None = None
    resolution: str | None = None
    training: dict[str, Any] = field(default_factory=dict)
    training_tags: dict[str, int] = field(default_factory=dict)
