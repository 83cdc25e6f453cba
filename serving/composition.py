"""The rules of a composed prompt: which adapters get a token, in which order, how a token is written, what to warn of.

Pure: nothing is looked up here. Belongs here: the text, and what is wrong with what it was made of. Does not: whether
the adapters go together, may be used together, and how strong they are (`advice`), and reading them (`composing`).
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from warehouse import prompts

USUAL_WEIGHT = 2.0
"""Beyond this, of either sign, images usually break."""
MANY_TOKENS = 30
"""From this number of tokens on, a slip is more likely than a wish."""
NAMED = 20
"""Adapters that are named in warnings of one kind; of the others the number is told."""


@dataclass(frozen=True, slots=True)
class Member:
    """An adapter that is to be composed.

    Its name holds nothing that would break a token (`<`, `>`, `:`, control characters): ingest and the API see to that.
    """

    id: str
    name: str
    version: str | None = None
    weight: float = 1.0
    """Finite."""
    ordinal: int | None = None
    base_model: str | None = None
    file_state: str = "present"
    trigger_text: str | None = None
    """What to add to the prompt when triggers are asked for."""
    author: str | None = None
    licence: dict[str, Any] | None = None
    scale: float | None = None
    """What its file multiplies a weight by (alpha / rank); None is unknown."""
    strength: dict[str, Any] | None = None
    """Which weight is suggested, with the evidence; None where nothing tells."""

    @property
    def title(self) -> str:
        """Name and version, as messages call it."""
        return f"{self.name} ({self.version})" if self.version else self.name


@dataclass(frozen=True, slots=True)
class Token:
    """A token of the prompt."""

    text: str
    weight: float
    """As the text states it."""
    member: Member


@dataclass(frozen=True, slots=True)
class Composition:
    """A prompt and what it was made of."""

    prompt: str
    tokens: tuple[Token, ...]
    warnings: tuple[str, ...]


def compose(
    members: Iterable[Member],
    *,
    prefix: str = "",
    suffix: str = "",
    include_triggers: bool = False,
) -> Composition:
    """The prompt of adapters given in any order. Prefix and suffix stand in it as they are; a blank one does not."""
    ordered = sorted(members, key=order)
    kept = one_per_name(ordered)
    tokens = tuple(_token(member) for member in kept)
    triggers = _triggers(kept) if include_triggers else ""
    parts = (prefix, *(token.text for token in tokens), triggers, suffix)
    warnings = [
        *_warnings_of_names(ordered, kept),
        *_warnings_of_own_tags(kept, prefix, suffix),
        *_warnings_of_weights(tokens),
        *_warnings_of_files(kept),
    ]
    if len(tokens) >= MANY_TOKENS:
        warnings.append(f"the prompt holds {len(tokens):,} tokens: deactivate the adapters that are not meant")
    return Composition(" ".join(part for part in parts if part.strip()), tokens, tuple(warnings))


def order(member: Member) -> tuple[bool, int, str, str]:
    """What adapters are sorted by: explicit ordinals first, ascending, then name, then id. Total, as ids differ."""
    return (member.ordinal is None, member.ordinal or 0, member.name, member.id)


def one_per_name(ordered: Sequence[Member]) -> list[Member]:
    """The adapters that get a token: of a name the one with the largest weight, of equal weights the first in order."""
    best: dict[str, int] = {}
    for position, member in enumerate(ordered):
        held = best.setdefault(member.name, position)
        if member.weight > ordered[held].weight:
            best[member.name] = position
    return [ordered[position] for position in sorted(best.values())]


def format_weight(weight: float) -> str:
    """A weight in a token: at most 3 decimals, no trailing zeros, no `-0`, no exponent. It must be finite."""
    text = f"{weight:.3f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def _token(member: Member) -> Token:
    weight = format_weight(member.weight)
    return Token(f"<lora:{member.name}:{weight}>", float(weight), member)


def _triggers(members: Sequence[Member]) -> str:
    """The trigger texts, each once, as one list. A LoRA tag within them is left out: the tokens name what is used."""
    texts = (prompts.without_lora_tags(member.trigger_text or "").strip(" ,") for member in members)
    return ", ".join(dict.fromkeys(text for text in texts if text))


def each(members: Sequence[Member], say: Callable[[Member], str], rest: str) -> list[str]:
    """One warning for each of the first adapters, and one with their number for the others (`rest`)."""
    warnings = [say(member) for member in members[:NAMED]]
    if len(members) > NAMED:
        warnings.append(f"{len(members) - NAMED:,} more adapters {rest}")
    return warnings


def _warnings_of_names(ordered: Sequence[Member], kept: Sequence[Member]) -> list[str]:
    stays = {member.name: member for member in kept}
    positions = {id(member) for member in kept}
    left_out = [member for member in ordered if id(member) not in positions]

    def say(member: Member) -> str:
        winner = stays[member.name]
        return (
            f"{member.title} at weight {format_weight(member.weight)} is left out: there is one token for a name, and "
            f"{winner.title} at weight {format_weight(winner.weight)} stays"
        )

    return each(left_out, say, "are left out, as others of their names stay")


def _warnings_of_own_tags(kept: Sequence[Member], prefix: str, suffix: str) -> list[str]:
    """A prefix or suffix is the client's own text and stays as it is, also where it names an adapter once more."""
    written = {tag.name for text in (prefix, suffix) for tag in prompts.lora_tags(text) if tag.kind == "lora"}
    again = [member for member in kept if member.name in written]
    return each(
        again,
        lambda member: f"{member.title} has a token of its own in the prefix or suffix: it is applied twice",
        "have tokens of their own in the prefix or suffix",
    )


def _warnings_of_weights(tokens: Sequence[Token]) -> list[str]:
    idle = [token.member for token in tokens if token.weight == 0]
    beyond = [token.member for token in tokens if abs(token.weight) > USUAL_WEIGHT]
    return [
        *each(idle, lambda member: f"{member.title} has the weight 0: it does nothing", "have the weight 0"),
        *each(
            beyond,
            lambda member: (
                f"{member.title} has the weight {format_weight(member.weight)}: beyond ±{USUAL_WEIGHT:g} images "
                "usually break"
            ),
            f"have weights beyond ±{USUAL_WEIGHT:g}",
        ),
    ]


_FILE_STATES = {
    "missing": "is missing: it was in the library and is gone",
    "remote": "is missing: only its metadata is in the library",
    "invalid": "is invalid: it cannot be loaded",
}


def _warnings_of_files(kept: Sequence[Member]) -> list[str]:
    unusable = [member for member in kept if member.file_state != "present"]
    return each(
        unusable,
        lambda member: (
            f"the file of {member.title} {_FILE_STATES.get(member.file_state, f'is in the state {member.file_state}')}"
        ),
        "have files that are missing or invalid",
    )
