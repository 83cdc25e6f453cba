"""LoRAs as a backend knows them: finding ours in its listing, writing its names into a prompt, and what was applied.

Belongs here: names, for every backend alike; pure. Does not: fetching a listing (the backends) and looking adapters up
(`warehouse.queries`).

A prompt names an adapter by our name for it. The server has the same file under a name of its own, often in another
folder of another machine, so a file is recognised by a hash where the server lists one, else by how much of its path
agrees from the end.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Any, Final

TOKEN: Final = re.compile(r"<lora:([^<>:]+)((?::[^<>:]*)*)>")
"""A LoRA token; its name, and what follows it with the colon before each part."""
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


@dataclass(frozen=True, slots=True)
class SentLora:
    """A token of a prompt as it was sent."""

    name: str
    """As it was composed."""
    sent_as: str
    weight: float
    adapter_id: str | None = None
    listed: bool = False


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A prompt whose tokens bear the server's names."""

    prompt: str
    sent: list[SentLora] = field(default_factory=list)
    """One for each token, in order."""


def find_listed(own: OwnLora, listing: Sequence[ListedLora]) -> ListedLora | None:
    """The entry of a listing that is our file: by hash, else the one whose path agrees with ours furthest from its end.

    None where nothing agrees, and where several agree equally well: the wrong picture is worse than a warning.
    """
    for entry in listing:
        if any(_same_hash(one, other) for one in own.hashes for other in entry.hashes):
            return entry
    ranked = sorted(((_agreement(own.file_path, entry.path), entry) for entry in listing), key=lambda pair: -pair[0])
    if not ranked or ranked[0][0] == 0:
        return None
    return ranked[0][1] if len(ranked) == 1 or ranked[1][0] < ranked[0][0] else None


def _same_hash(one: str, other: str) -> bool:
    shorter, longer = sorted((one.lower(), other.lower()), key=len)
    return len(shorter) >= _SHORTEST_HASH and longer.startswith(shorter)


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


def rewrite(prompt: str, own: Mapping[str, OwnLora], listing: Sequence[ListedLora]) -> Rewritten:
    """Write the server's names into the tokens of a prompt.

    Args:
        prompt: with tokens as they were composed.
        own: our adapters by the name in their tokens; a token of none of them is looked up by its name alone.
        listing: what the server has. A token that is not in it is sent as it was composed.
    """
    names = {entry.name for entry in listing}
    sent: list[SentLora] = []

    def replaced(match: re.Match[str]) -> str:
        name, rest = match.group(1), match.group(2)
        adapter = own.get(name)
        entry = find_listed(adapter or OwnLora("", name, name), listing)
        if entry is None and name in names:
            entry = next(candidate for candidate in listing if candidate.name == name)
        sent_as = entry.name if entry is not None else name
        sent.append(SentLora(name, sent_as, weight_of(rest), adapter.id if adapter else None, listed=entry is not None))
        return f"<lora:{sent_as}{rest}>"

    return Rewritten(TOKEN.sub(replaced, prompt), sent)


def weight_of(rest: str) -> float:
    """The weight that a token states: its first part that is not named; 1 where it states none."""
    first = next((part for part in rest.split(":")[1:] if "=" not in part), "")
    try:
        return float(first)
    except ValueError:
        return 1.0


def report(sent: Iterable[SentLora], applied: frozenset[str] | None) -> list[dict[str, Any]]:
    """What became of each LoRA of a prompt, as results show it.

    Args:
        sent: the tokens as they were sent.
        applied: the names that the server says it applied; None where it says nothing.
    """
    return [
        {
            "name": item.name,
            "sent_as": item.sent_as,
            "weight": item.weight,
            "lora_id": item.adapter_id,
            "status": _status(item, applied).value,
        }
        for item in sent
    ]


def _status(item: SentLora, applied: frozenset[str] | None) -> LoraStatus:
    if item.weight == 0:
        return LoraStatus.SKIPPED
    if applied is None:
        return LoraStatus.UNVERIFIED if item.listed else LoraStatus.UNKNOWN
    # The server joins names by commas, which a name may hold itself.
    if item.sent_as in applied or {part.strip() for part in item.sent_as.split(",")} <= applied:
        return LoraStatus.APPLIED
    return LoraStatus.INCOMPATIBLE if item.listed else LoraStatus.UNKNOWN


def warnings(entries: Iterable[Mapping[str, Any]], server: str) -> list[str]:
    """What a person must know of a report: each LoRA that the pictures were made without."""
    said = {
        LoraStatus.UNKNOWN: "is not among the LoRAs of {server}: copy its file there, or let it rescan its folder",
        LoraStatus.INCOMPATIBLE: "was not applied by {server} although it has the file: the file is broken there, or "
        "made for another base model than the one that was loaded",
        LoraStatus.SKIPPED: "has the weight 0 and was not applied",
    }
    return [
        f"{entry['name']} {said[LoraStatus(entry['status'])].format(server=server)}"
        for entry in entries
        if LoraStatus(entry["status"]) in said
    ]
