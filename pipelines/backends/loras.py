"""LoRAs as a backend knows them: finding ours in its listing, writing its names into a prompt, and what was applied.

Belongs here: names, for every backend alike; pure. Does not: fetching a listing (the backends) and looking adapters up
(`warehouse.queries`).

A prompt names an adapter by our name for it. The server has the same file under a name of its own, often in another
folder of another machine, so a file is recognised by a hash where the server lists one, else by how much of its path
agrees from the end.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any, Final

from warehouse.lora_tokens import TOKEN, LoraToken, read_token

_SHORTEST_HASH: Final = 8
"""Hexadecimal digits from which a short hash is taken for the beginning of a longer one."""


@dataclass(frozen=True, slots=True)
class OwnLora:
    """An adapter of ours as far as a server could recognise it."""

    id: str
    name: str
    file_path: str
    hashes: frozenset[str] = frozenset()
    """Lower-case hexadecimal: of the file, and of what follows its header."""


@dataclass(frozen=True, slots=True)
class ListedLora:
    """A LoRA of a server's listing."""

    name: str
    """What the server must be told."""
    path: str
    """Where it lies there, absolute or relative to its folder."""
    hashes: frozenset[str] = frozenset()
    """Lower-case hexadecimal, possibly shortened."""


class LoraStatus(StrEnum):
    """What became of a LoRA of a prompt."""

    APPLIED = "applied"
    UNKNOWN = "unknown"
    """The server's listing does not have it, and it did not say that it applied it."""
    INCOMPATIBLE = "incompatible"
    """The server has it and did not apply it: its file is broken, or made for another base model."""
    SKIPPED = "skipped"
    """Its weight is 0."""
    UNVERIFIED = "unverified"
    """The server does not say which it applied."""


class Listing:
    """The LoRAs that a server has, found by name, hash or path without going through all of them."""

    def __init__(self, entries: Iterable[ListedLora]) -> None:
        self._by_name: dict[str, ListedLora] = {}
        self._by_stem: defaultdict[str, list[ListedLora]] = defaultdict(list)
        self._by_hash: defaultdict[str, list[tuple[str, ListedLora]]] = defaultdict(list)
        for entry in entries:
            self._by_name.setdefault(entry.name, entry)
            self._by_stem[_parts(entry.path)[0]].append(entry)
            for digest in entry.hashes:
                if len(digest) >= _SHORTEST_HASH:
                    self._by_hash[digest[:_SHORTEST_HASH]].append((digest, entry))

    def find(self, own: OwnLora) -> ListedLora | None:
        """The entry that is our file: by hash, else the one whose path agrees with ours furthest from its end.

        None where nothing agrees, and where several agree equally well: the wrong picture is worse than a warning.
        """
        for digest in own.hashes:
            for other, entry in self._by_hash.get(digest[:_SHORTEST_HASH], ()):
                if digest.startswith(other) or other.startswith(digest):
                    return entry
        same_stem = self._by_stem.get(_parts(own.file_path)[0], [])
        ranked = sorted(((_agreement(own.file_path, entry.path), entry) for entry in same_stem), key=lambda p: -p[0])
        if not ranked:
            return None
        return ranked[0][1] if len(ranked) == 1 or ranked[1][0] < ranked[0][0] else None

    def named(self, name: str) -> ListedLora | None:
        """The entry of a name of the server's."""
        return self._by_name.get(name)


@dataclass(frozen=True, slots=True)
class SentLora:
    """A token of a prompt as it was sent."""

    name: str
    """As it was composed."""
    sent_as: str
    weight: float
    text_weight: float
    adapter_id: str | None = None
    listed: bool = False

    @property
    def is_idle(self) -> bool:
        """Whether it weighs nothing."""
        return self.weight == 0 and self.text_weight == 0


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A prompt whose tokens bear the server's names."""

    prompt: str
    sent: list[SentLora] = field(default_factory=list)
    """One for each token, in order."""

    @property
    def unlisted(self) -> list[SentLora]:
        """Those that the server's listing does not have."""
        return [item for item in self.sent if not item.listed and not item.is_idle]


def _agreement(one: str, other: str) -> int:
    """How many parts of two paths are equal, counted from the end, the extension left aside."""
    count = 0
    for mine, theirs in zip(_parts(one), _parts(other), strict=False):
        if mine != theirs:
            break
        count += 1
    return count


def _parts(path: str) -> list[str]:
    """The parts of a path of either kind of system, the last one first and without its extension."""
    pure = PurePosixPath(path.replace("\\", "/"))
    stem = pure.stem if pure.suffix.lower() in (".safetensors", ".pt", ".ckpt", ".bin") else pure.name
    return [stem, *reversed(pure.parts[:-1])]


def rewrite(prompt: str, own: Mapping[str, OwnLora], listing: Listing) -> Rewritten:
    """Write the server's names into the tokens of a prompt.

    Args:
        prompt: with tokens as they were composed.
        own: our adapters by the name in their tokens; a token of none of them is looked up by its name alone.
        listing: what the server has. A token that is not in it is sent as it was composed.
    """
    sent: list[SentLora] = []

    def replaced(match: re.Match[str]) -> str:
        item = _sent(read_token(match), own, listing)
        sent.append(item)
        return f"<lora:{item.sent_as}{match.group(2)}>"

    return Rewritten(TOKEN.sub(replaced, prompt), sent)


def _sent(token: LoraToken, own: Mapping[str, OwnLora], listing: Listing) -> SentLora:
    adapter = own.get(token.name)
    entry = listing.find(adapter or OwnLora("", token.name, token.name)) or listing.named(token.name)
    return SentLora(
        token.name,
        entry.name if entry is not None else token.name,
        token.weight,
        token.text_weight,
        adapter.id if adapter is not None else None,
        listed=entry is not None,
    )


def without_tokens(prompt: str) -> str:
    """A prompt without its tokens, for a server that takes LoRAs otherwise."""
    left = TOKEN.sub("", prompt)
    return prompt if left == prompt else " ".join(left.split())


def report(sent: Iterable[SentLora], applied: frozenset[str] | None) -> dict[str, list[dict[str, Any]]]:
    """The LoRAs of a prompt by what became of them, as results show it; every status is there, if empty.

    Args:
        sent: the tokens as they were sent.
        applied: the names that the server says it applied; None where it says nothing.
    """
    found: dict[str, list[dict[str, Any]]] = {status.value: [] for status in LoraStatus}
    for item in sent:
        entry = {"name": item.name, "sent_as": item.sent_as, "weight": item.weight, "lora_id": item.adapter_id}
        found[_status(item, applied).value].append(entry)
    return found


def _status(item: SentLora, applied: frozenset[str] | None) -> LoraStatus:
    if item.is_idle:
        return LoraStatus.SKIPPED
    if applied is None:
        return LoraStatus.UNVERIFIED if item.listed else LoraStatus.UNKNOWN
    # SD.Next joins names by commas, which a name may hold itself; A1111 leaves commas away.
    parts = {part.strip() for part in item.sent_as.split(",")}
    if item.sent_as in applied or parts <= applied or item.sent_as.replace(",", "") in applied:
        return LoraStatus.APPLIED
    return LoraStatus.INCOMPATIBLE if item.listed else LoraStatus.UNKNOWN


def missing_of(report: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """The names of a report that the pictures were made without, though they were asked for."""
    return [entry["name"] for status in (LoraStatus.UNKNOWN, LoraStatus.INCOMPATIBLE) for entry in report[status]]


_SAID: Final = {
    LoraStatus.UNKNOWN: "is not among the LoRAs of {server}: copy its file there, or let it rescan its folder",
    LoraStatus.INCOMPATIBLE: "was not applied by {server} although it has the file: the file is broken there, or made "
    "for another base model than the one that was loaded",
    LoraStatus.SKIPPED: "has the weight 0 and was not applied",
}


def warnings(report: Mapping[str, Sequence[Mapping[str, Any]]], server: str) -> list[str]:
    """What a person must know of a report: each LoRA that the pictures were made without."""
    return [
        f"{entry['name']} {text.format(server=server)}" for status, text in _SAID.items() for entry in report[status]
    ]
