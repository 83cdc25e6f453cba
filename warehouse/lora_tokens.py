"""LoRA tokens of prompts: `<lora:name:weight>`, and what may stand behind the weight.

Belongs here: reading them, pure, for who sends prompts and who counts what was used. Does not: writing them (the API
composes), and the looser syntax that people's prompts are searched by.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

TOKEN: Final = re.compile(r"<lora:([^<>:]+)((?::[^<>:]*)*)>")
"""A token: its name, and what follows it with the colon before each part."""


@dataclass(frozen=True, slots=True)
class LoraToken:
    """A token of a prompt."""

    name: str
    weight: float
    """Of the model, the U-Net or transformer."""
    text_weight: float
    """Of the text encoder."""


def tokens_of(prompt: str) -> Iterator[LoraToken]:
    """The tokens of a prompt, in order."""
    return (read_token(match) for match in TOKEN.finditer(prompt))


def read_token(match: re.Match[str]) -> LoraToken:
    """What a match of `TOKEN` says.

    The first number weighs the text encoder and, where nothing else is said, the model; a second one, or `unet=`,
    weighs the model; `te=` the text encoder. What is no number is 1.
    """
    parts = match.group(2).split(":")[1:]
    named = dict(part.split("=", 1) for part in parts if "=" in part)
    numbers = [part for part in parts if "=" not in part]
    first = _number(numbers[0]) if numbers else 1.0
    text = _number(named["te"]) if "te" in named else first
    model = _number(numbers[1]) if len(numbers) > 1 else first
    return LoraToken(match.group(1), _number(named["unet"]) if "unet" in named else model, text)


def _number(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        return 1.0
    return value if abs(value) < 1e6 else 1.0  # neither infinite nor no number
