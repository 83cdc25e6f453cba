"""Prompts taken apart: LoRA tags, attention syntax, exclusions, words. Pure; nothing is looked up here.

Understood: `<lora:name:weight>` (also lyco, hypernet; with a text-encoder weight), `(word:1.2)`, `((word))`,
`[word]`, `[from:to:when]`, `BREAK`, `AND`, escaped brackets, a "Negative prompt:" line,
and the settings line of a pasted infotext.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from warehouse import fulltext

MAX_PHRASE_WORDS = 4
"""Longest run of words that is looked up as one concept."""
MAX_WORDS = 256
"""Words of a prompt beyond these are not looked up as concepts; the text is embedded as the encoder takes it."""

FUNCTION_WORDS = frozenset(
    """a about above after an and are as at be before behind below beside between but by for from had has have he her
    his i in into is it its my near of off on onto or our out over she that the their them there these they this those
    through to under up upon was we were which while who with without you your""".split()  # noqa: SIM905
)
"""Words of English that say nothing by themselves: where few names have one, it is not for that a rare word."""

# No two repetitions in a row may match the same characters: a prompt of 20,000 spaces would take seconds.
_TAG = re.compile(r"<\s*(lora|lyco|hypernet)\s*:([^<>:]*)((?::[^<>:]*)*)>", re.IGNORECASE)
_TAG_OPENING = re.compile(r"<\s*(?=(?:lora|lyco|hypernet)\b)", re.IGNORECASE)
_ANY_TAG = re.compile(r"<[^<>\s][^<>]*>")
_NEGATIVE = re.compile(r"(?:^|\n)[ \t]*negative prompt[ \t]*:", re.IGNORECASE)
_SETTINGS = re.compile(r"(?:^|\n)[ \t]*steps[ \t]*:[ \t]*\d+[ \t]*(?:,[^\n]*)?(?=\n|$)", re.IGNORECASE)
_WEIGHT = re.compile(r":[ \t]*[-+]?(?:\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})[ \t]*(?=[)\]])")
_KEYWORD = re.compile(r"\b(?:BREAK|AND)\b")
_SCHEDULE = re.compile(r"\[([^\[\]:|]*):([^\[\]:|]*):\s*[\d.]+\s*\]")
_BRACKETS = re.compile(r"(?<!\\)[()\[\]{}]")
_SPLIT = re.compile(r"[,;\n|]+")
_WORD = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*")


@dataclass(frozen=True, slots=True)
class LoraTag:
    """A LoRA that a prompt names."""

    kind: str
    name: str
    weight: float | None
    """None where the tag states none, or nothing that is a number."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a prompt says."""

    text: str
    """The positive part in plain words: what is embedded."""
    negative: str
    """What follows "Negative prompt:"; it is set aside, not searched for."""
    tags: tuple[LoraTag, ...]
    pieces: tuple[str, ...]
    """The comma-separated parts of the text, each once."""
    written: tuple[str, ...]
    """The same parts as they stand in the prompt, with weights and brackets and as often; LoRA tags are left out."""


def _weight(rest: str) -> float | None:
    for part in rest.split(":"):
        try:
            value = float(part)
        except ValueError:
            continue
        if abs(value) < 1e6:  # neither infinite nor no number
            return value
    return None


def parse(prompt: str) -> Prompt:
    """Take a prompt apart. Whatever it holds, something is returned; an empty prompt has an empty text."""
    positive, *rest = _NEGATIVE.split(prompt.replace("\x00", " "), maxsplit=1)
    negative = _SETTINGS.sub("", rest[0]) if rest else ""
    positive = _SETTINGS.sub("", positive)
    pieces = _pieces(positive)
    return Prompt(
        text=", ".join(pieces),
        negative=", ".join(_pieces(negative)),
        tags=lora_tags(positive),
        pieces=tuple(pieces),
        written=tuple(_parts(_ANY_TAG.sub(",", positive))),
    )


def lora_tags(text: str) -> tuple[LoraTag, ...]:
    """The LoRA tags of a text, in order; a name without its surrounding spaces, and none that is blank."""
    return tuple(
        LoraTag(kind.lower(), name.strip(), _weight(rest)) for kind, name, rest in _TAG.findall(text) if name.strip()
    )


def without_lora_tags(text: str) -> str:
    """A text without its LoRA tags, nor a beginning of one that what follows could complete, nor empty list items."""
    left = _TAG_OPENING.sub("", _TAG.sub(",", text))
    if left == text:
        return text
    items = (" ".join(item.split()) for item in left.split(","))
    return ", ".join(item for item in items if item)


def _pieces(text: str) -> list[str]:
    """The comma-separated parts of a text in plain words, each once."""
    return list(dict.fromkeys(_parts(plain(text))))


def _parts(text: str) -> Iterator[str]:
    parts = (" ".join(part.split()) for part in _SPLIT.split(text))
    return (part for part in parts if part)


def plain(text: str) -> str:
    """Text without tags, weights, brackets and keywords of the attention syntax."""
    text = _ANY_TAG.sub(",", text)
    text = _SCHEDULE.sub(r"\1, \2", text)
    text = _WEIGHT.sub("", text)
    text = _KEYWORD.sub(",", text)
    return _BRACKETS.sub(" ", text).replace("\\", "")


def phrases(prompt: Prompt) -> list[str]:
    """Folded runs of one to four words within each piece, each once, in order: what could be a tag or a trigger."""
    found: dict[str, None] = {}
    budget = MAX_WORDS
    for piece in prompt.pieces:
        folded = fulltext.fold(piece)
        # A tag may be written with any punctuation; the piece as it stands is tried first.
        found[folded] = None
        words = _WORD.findall(folded)[:budget]
        budget -= len(words)
        for length in range(min(MAX_PHRASE_WORDS, len(words)), 0, -1):
            for start in range(len(words) - length + 1):
                found[" ".join(words[start : start + length])] = None
        if budget <= 0:
            break
    return [phrase for phrase in found if phrase]
