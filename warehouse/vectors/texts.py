"""An adapter's facts in the words that are embedded: one text per space. Pure; versioned.

Belongs here: what is said, in which order, and how much of it. The models read a few hundred tokens, so what tells
adapters apart comes first, and noise that all prompts share (quality words, LoRA tags, weights) is left out.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable

from warehouse.vectors.facts import AdapterFacts

VERSION = "1"
"""Changed whenever one of the producers would give another text for the same facts."""

MAX_TEXT = 2_000
"""Characters of a text. A model reads 256 tokens or so, which even in the tersest script are fewer characters."""
MAX_PROMPTS = 12
"""Example prompts that are read: the later ones of an adapter repeat the first."""

_EXTRA_NETWORK = re.compile(r"<[a-z]+:[^<>]{0,200}>", re.IGNORECASE)
_EMPHASIS_WEIGHT = re.compile(r":\s*-?\d*\.?\d+\s*(?=[)\]])")
_BRACKETS = re.compile(r"[()\[\]{}\\]")
_SPACES = re.compile(r"\s+")
_SEPARATORS = re.compile(r"[,\n|]+|\bBREAK\b")
_WORD_BREAKS = re.compile(r"[_\-]+|(?<=[a-z])(?=[A-Z])|(?<=[A-Za-z])(?=\d{4,})")
_NOISE = frozenset(
    """masterpiece|best quality|high quality|highest quality|amazing quality|good quality|very aesthetic|aesthetic
    |absurdres|highres|newest|recent|8k|4k|uhd|hdr|high resolution|ultra-detailed|ultra detailed|highly detailed
    |extremely detailed|intricate details|intricate|detailed|very detailed|best|high detail|sharp focus|raw photo
    |score_9|score_8_up|score_7_up|score_6_up|score_5_up|score_4_up|source_anime|rating_safe|safe|general|sensitive
    |1girl|1boy|solo|looking at viewer|official art|unity 8k wallpaper|extremely detailed cg unity 8k wallpaper
    |professional|beautiful|perfect|award winning|ultra high res|photorealistic quality""".replace("\n    ", "").split(
        "|"
    )
)
"""Words of prompts that say nothing of the adapter: most prompts of all adapters have them."""


def semantic_text(facts: AdapterFacts) -> str:
    """What it is: name, archetype, tags, trigger words, description."""
    parts = [
        _readable(facts.name),
        _readable(facts.version) if facts.version and not _is_bare_version(facts.version) else "",
        ", ".join(_unique([facts.archetype or "", *facts.tags])[:30]),
        # Triggers are the trained words, split and cleaned.
        ", ".join(_unique(facts.triggers or facts.trained_words)[:20]),
        _clean(facts.description or ""),
    ]
    return _join(parts)


def artistic_text(facts: AdapterFacts) -> str:
    """How it looks: trained words, the words its example prompts share, then the prompts; else its training tags."""
    prompts = [fragments for prompt in facts.prompts[:MAX_PROMPTS] if (fragments := prompt_fragments(prompt))]
    shared = Counter(fragment for fragments in prompts for fragment in dict.fromkeys(fragments))
    # What several examples share is the adapter; what one has is the picture.
    common = [fragment for fragment, count in shared.most_common(40) if count > 1]
    rest = [fragment for fragments in prompts for fragment in fragments]
    words = [*facts.trained_words, facts.activation_text or ""]
    trained = [tag for tag, _ in sorted(facts.training_tags.items(), key=lambda item: (-item[1], item[0]))[:40]]
    fragments = [fragment for text in words for fragment in prompt_fragments(text)]
    listed = _unique([*fragments, *common, *rest, *trained])
    if not listed:
        # Nothing tells how it looks: its tags and name are the nearest thing to it.
        listed = _unique([*facts.tags, _readable(facts.name)])
    return _join([", ".join(listed)])


def technical_text(facts: AdapterFacts) -> str:
    """What it is made of: base model, network type, rank, resolution, training facts. Many adapters have equal ones."""
    training = facts.training
    parts = [
        f"base model {facts.base_model}" if facts.base_model else "",
        f"family {facts.sd_version}" if facts.sd_version else "",
        f"network {facts.network_type}" if facts.network_type else "",
        f"rank {facts.rank}" if facts.rank else "",
        f"alpha {facts.alpha:g}" if facts.alpha else "",
        f"resolution {facts.resolution}" if facts.resolution else "",
        *(f"{label} {_value(training[key])}" for key, label in _TRAINING.items() if training.get(key) not in _ABSENT),
        f"kind {facts.archetype}" if facts.archetype else "",
    ]
    return _join(parts, separator=", ") or "unknown"


_ABSENT: tuple[object, ...] = (None, "", 0, [], {})
_TRAINING = {
    "optimizer": "optimizer",
    "learning_rate": "learning rate",
    "unet_lr": "unet learning rate",
    "epochs": "epochs",
    "steps": "steps",
    "num_train_images": "images",
    "clip_skip": "clip skip",
    "network_module": "module",
    "sd_model_name": "trained on",
    "lr_scheduler": "schedule",
}


def text_digest(text: str) -> str:
    """32 hexadecimal digits of a text."""
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def prompt_fragments(prompt: str) -> list[str]:
    """The phrases of an image prompt without LoRA tags, emphasis and the noise that all prompts share; bounded."""
    text = _EXTRA_NETWORK.sub(",", prompt[: 4 * MAX_TEXT])
    text = _BRACKETS.sub("", _EMPHASIS_WEIGHT.sub("", text))
    fragments = (_SPACES.sub(" ", fragment).strip(" .:;") for fragment in _SEPARATORS.split(text))
    return [fragment for fragment in fragments if fragment and fragment.casefold() not in _NOISE]


def _value(value: object) -> str:
    # An optimiser is written with its arguments: bitsandbytes.optim.adamw.AdamW8bit(weight_decay=0.1).
    return str(value).partition("(")[0][-60:]


def _is_bare_version(version: str) -> bool:
    return re.fullmatch(r"(?i)\s*v?(er(sion)?)?[\s._\-]*\d+([._]\d+)*[a-z]?\s*", version) is not None


def _readable(name: str) -> str:
    """A name in words: underscores, dashes and camel case taken apart."""
    return _SPACES.sub(" ", _WORD_BREAKS.sub(" ", name)).strip()


def _clean(text: str) -> str:
    return _SPACES.sub(" ", text[: 4 * MAX_TEXT]).strip()


def _unique(values: Iterable[str]) -> list[str]:
    seen: dict[str, str] = {}
    for value in values:
        if value.strip():
            seen.setdefault(value.strip().casefold(), value.strip())
    return list(seen.values())


def _join(parts: Iterable[str], *, separator: str = ". ") -> str:
    return separator.join(part for part in parts if part)[:MAX_TEXT]


def prompt_text(prompt: str) -> str:
    """A prompt as it is compared with the texts of adapters: its phrases; the prompt itself where none is left."""
    return ", ".join(_unique(prompt_fragments(prompt)))[:MAX_TEXT] or _clean(prompt)[:MAX_TEXT]
