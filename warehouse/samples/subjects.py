"""What a sample adapter is about: name, trigger words, tags, sentences and prompts, in one theme's words.

Belongs here: the grammar that turns a vocabulary into texts. Does not: documents and their formats (`documents`).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from itertools import accumulate
from random import Random

from warehouse.samples import vocabulary as words
from warehouse.samples.vocabulary import Theme


class Kind(StrEnum):
    """What an adapter teaches; the value is the category tag and, as a folder, gets an s."""

    character = "character"
    style = "style"
    clothing = "clothing"
    background = "background"
    object = "object"
    concept = "concept"
    pose = "pose"
    vehicle = "vehicle"
    animal = "animal"


_SHARES = {
    Kind.character: 30,
    Kind.style: 24,
    Kind.clothing: 12,
    Kind.background: 9,
    Kind.object: 7,
    Kind.concept: 7,
    Kind.pose: 5,
    Kind.vehicle: 4,
    Kind.animal: 2,
}
_KINDS, _CUMULATED = list(_SHARES), list(accumulate(_SHARES.values()))
_CATEGORY_TAG = {Kind.object: "objects", Kind.pose: "poses"}
_NOT_IN_STEM = re.compile(r"[^a-z0-9]+")


@dataclass(frozen=True, slots=True)
class Subject:
    """One invented subject. `essence` are the words every prompt shares; `stem` is a file name without suffix."""

    kind: Kind
    theme: Theme
    name: str
    stem: str
    trigger: str
    words: list[str]
    tags: list[str]
    essence: list[str]
    sentences: list[str]

    @property
    def folder(self) -> str:
        """Where such adapters lie in a tidy library."""
        return "clothing" if self.kind is Kind.clothing else f"{self.kind}s"


def invent(random: Random) -> Subject:
    """A new subject; its name may equal an earlier one."""
    theme = words.THEMES[int(random.random() * len(words.THEMES))]
    kind = random.choices(_KINDS, cum_weights=_CUMULATED)[0]
    title, essence = _title(random, kind, theme)
    mood, colour, material, spot = (
        _named_in(essence, belongings) or pick(random, belongings)
        for belongings in (theme.moods, theme.colours, theme.materials, theme.places)
    )
    name = _decorated(random, title, theme)
    base = _NOT_IN_STEM.sub("_", unicodedata.normalize("NFKD", title).lower()).strip("_")
    trigger = "".join(part[:5] for part in base.split("_")[:2])
    return Subject(
        kind=kind,
        theme=theme,
        name=name,
        stem=base,
        trigger=trigger,
        words=[trigger, *essence[:2]],
        tags=_tags(random, kind, theme, mood, material),
        essence=[*essence, mood, colour],
        sentences=_sentences(random, kind, theme, title, (mood, colour, material, spot)),
    )


def prompt(random: Random, subject: Subject, stem: str, weight: float) -> str:
    """A prompt in the manner of example images: quality words, the adapter's tag, trigger, subject, setting."""
    theme = subject.theme
    parts = [pick(random, words.QUALITY), f"<lora:{stem}:{weight:g}>", subject.trigger]
    if subject.kind is not Kind.character and random.random() < 0.4:
        parts.append(pick(random, words.CAST))
    parts += subject.essence[:3]
    for belongings in (theme.places, theme.colours, theme.moods, words.FRAMING, words.LIGHTING, words.RENDERING):
        parts.append(pick(random, belongings))
    if random.random() < 0.9:
        parts += [pick(random, theme.things), pick(random, theme.materials), pick(random, theme.creatures)]
    if random.random() < 0.8:
        parts.append(f"({pick(random, theme.garments)}:1.2), {pick(random, words.RENDERING)}")
    return ", ".join(parts)


def _title(random: Random, kind: Kind, theme: Theme) -> tuple[str, list[str]]:
    """The plain name, and the words that make the subject what it is."""
    choice = partial(pick, random)
    place = theme.title.split()[-2]
    match kind:
        case Kind.character:
            person = choice(words.FIRST_SYLLABLES) + choice(words.MIDDLE_SYLLABLES) + choice(words.LAST_SYLLABLES)
            role, garment = choice(theme.roles), choice(theme.garments)
            hair = choice(("short", "long", "braided", "wavy", "silver", "curly")) + " hair"
            return f"{person} {choice(words.SURNAMES)}, {role}", [f"{role}", garment, hair, choice(theme.things)]
        case Kind.style:
            medium, mood = choice(words.STYLE_MEDIA), choice(theme.moods)
            return f"{mood.title()} {place} {medium}", [
                f"{medium.lower()} style",
                f"{mood} mood",
                choice(theme.materials),
            ]
        case Kind.clothing:
            garment, material = choice(theme.garments), choice(theme.materials)
            colour = choice(theme.colours)
            return f"{colour.title()} {garment.title()} of {place}", [garment, material, f"{colour} clothes"]
        case Kind.background:
            spot, mood = choice(theme.places), choice(theme.moods)
            return f"{theme.title}: {mood.title()} {spot.title()}", [spot, "scenery", f"{mood} atmosphere"]
        case Kind.object:
            thing, material = choice(theme.things), choice(theme.materials)
            return f"{material.title()} {thing.title()}", [thing, material, "still life"]
        case Kind.concept:
            concept = choice(words.CONCEPTS)
            return f"{concept} - {theme.title}", [concept.lower(), choice(theme.places), choice(theme.things)]
        case Kind.pose:
            pose = choice(words.POSES)
            return f"{pose.capitalize()} ({theme.title})", [pose, "dynamic pose", choice(theme.places)]
        case Kind.vehicle:
            vehicle, colour = choice(theme.vehicles), choice(theme.colours)
            return f"{colour.title()} {vehicle.title()}", [vehicle, choice(theme.materials), choice(theme.places)]
        case Kind.animal:
            creature = choice(theme.creatures)
            return f"{creature.title()} of {theme.title}", [creature, "animal focus", choice(theme.places)]


def _decorated(random: Random, title: str, theme: Theme) -> str:
    """Some names carry a title in another script, or an emoji, as real ones do."""
    draw = random.random()
    if draw < 0.12:
        return f"{title} / {pick(random, theme.native)}"
    if draw < 0.2:
        return f"{pick(random, '✨🌊🍂🔧🦊⭐')} {title}"
    return title


def _tags(random: Random, kind: Kind, theme: Theme, mood: str, material: str) -> list[str]:
    tags = [_CATEGORY_TAG.get(kind, kind.value), theme.title.lower(), mood, material, theme.slug.split("-")[-1]]
    tags += random.sample(("anime", "fantasy", "illustration", "scenery", "semi-realistic", "retro"), 2)
    return list(dict.fromkeys(tags))[: random.randint(3, 7)]


def _sentences(random: Random, kind: Kind, theme: Theme, title: str, flavour: tuple[str, str, str, str]) -> list[str]:
    mood, colour, material, spot = flavour
    thing, creature = pick(random, theme.things), pick(random, theme.creatures)
    opening = {
        Kind.character: f"{title.split(',')[0]} is an original character from {theme.title}, at home near the {spot}.",
        Kind.style: f"{_with_article(mood).capitalize()} style for {theme.title}, full of {colour} and {material}.",
        Kind.clothing: f"A garment as they wear it in {theme.title}, cut for the {spot}.",
        Kind.background: f"The {spot} of {theme.title} in {colour} light.",
        Kind.object: f"A prop from {theme.title}, usually found at the {spot}.",
        Kind.concept: f"A concept adapter tried out on {theme.title}: place it over any {mood} scene.",
        Kind.pose: f"One pose, many angles, with the {spot} of {theme.title} as the stage.",
        Kind.vehicle: f"They travel like this in {theme.title}, past the {spot}.",
        Kind.animal: f"{_with_article(mood).capitalize()} companion from {theme.title}.",
    }[kind]
    return [
        opening,
        f"It was trained on {random.randint(18, 240)} pictures of {material} and {_with_article(mood)} mood.",
        f"It goes well with {_with_article(thing)} or {_with_article(creature)}.",
    ]


def pick(random: Random, words_of: Sequence[str]) -> str:
    """One of `words_of`; three times as fast as `Random.choice`, which counts over millions of words."""
    return words_of[int(random.random() * len(words_of))]


def _named_in(essence: list[str], belongings: Sequence[str]) -> str | None:
    return next((each for each in belongings if any(each in phrase for phrase in essence)), None)


def _with_article(noun: str) -> str:
    return f"an {noun}" if noun[0] in "aeio" else f"a {noun}"
