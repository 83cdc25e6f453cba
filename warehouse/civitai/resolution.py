"""Which version a weight file is, and which file of a version: by what identifies it best, never by position.

What belongs here: the two choices and how sure they are. What does not: building adapters from them.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Final, Generic, TypeVar

from msgspec import Struct

from warehouse.civitai.facts import WeightFacts
from warehouse.civitai.names import civitdl_ids
from warehouse.civitai.records import FileClaim, VersionFacts
from warehouse.civitai.values import WEIGHT_NAME

Key = TypeVar("Key")


class Method(StrEnum):
    """What identified the version, strongest first."""

    SHA256 = "sha256"
    PARTIAL_HASH = "partial_hash"
    OTHER_HASH = "other_hash"
    FILE_NAME = "file_name"
    ID_IN_FILE_NAME = "id_in_file_name"
    SIDECAR = "sidecar"
    SINGLE = "single"


class Resolution(Struct, Generic[Key], frozen=True):
    """The outcome: a chosen key with its method, or the candidates between which nothing decides."""

    key: Key | None
    method: Method | None
    candidates: tuple[Key, ...] = ()


Test = Callable[[VersionFacts], bool]

_OTHER_FILE_TYPES: Final = frozenset(
    {"training data", "vae", "config", "archive", "text encoder", "negative", "workflow"}
)


def resolve(
    versions: Mapping[Key, Sequence[VersionFacts]],
    *,
    file_name: str,
    weight: WeightFacts | None,
    pinned: Iterable[Key] = (),
) -> Resolution[Key]:
    """Choose the version of a file among `versions` (what every document says of each).

    `pinned` are versions that sidecars without files name, best source first. Without `weight` the stem of `file_name`
    decides alone. With nothing decisive `key` is None and `candidates` holds what remained.
    """
    remaining = tuple(versions)
    for method, test in _tests(file_name, weight):
        found = tuple(key for key in remaining if any(test(version) for version in versions[key]))
        if len(found) == 1:
            return Resolution(found[0], method)
        # Several fit (one file name for every version is common): a weaker test may still tell them apart.
        remaining = found or remaining
    for key in pinned:
        if key in remaining:
            return Resolution(key, Method.SIDECAR)
    if len(versions) == 1:
        return Resolution(remaining[0], Method.SINGLE)
    return Resolution(None, None, remaining)


def _tests(file_name: str, weight: WeightFacts | None) -> list[tuple[Method, Test]]:
    """The tests in the order of what they prove."""
    tests: list[tuple[Method, Test]] = []
    if weight is not None:
        tests.append((Method.SHA256, lambda version: any(_same_sha256(file, weight) for file in version.files)))
        tests.append((Method.PARTIAL_HASH, lambda version: any(_same_partial(file, weight) for file in version.files)))
        tests.append((Method.OTHER_HASH, lambda version: any(_same_other(file, weight) for file in version.files)))
    stem = _stem(file_name)
    tests.append((Method.FILE_NAME, lambda version: any(_names_file(file, stem) for file in version.files)))
    if weight is not None:
        tests.append(
            (Method.FILE_NAME, lambda version: any(_names_and_fits(file, stem, weight) for file in version.files))
        )
    ids = civitdl_ids(file_name)
    if ids is not None:
        tests.append((Method.ID_IN_FILE_NAME, lambda version: version.civitai_id == ids[1]))
    return tests


def _stem(file_name: str) -> str:
    name = file_name.replace("\\", "/").rpartition("/")[2]
    return WEIGHT_NAME.sub("", name).casefold()


def _names_file(claim: FileClaim, stem: str) -> bool:
    return claim.name is not None and is_weight_claim(claim) and _stem(claim.name) == stem


def _names_and_fits(claim: FileClaim, stem: str, weight: WeightFacts) -> bool:
    """Whether name and stated size (exact to the byte) are the file's."""
    return _names_file(claim, stem) and claim.size_kb is not None and abs(claim.size_kb * 1024 - weight.size) < 1


def hash_matches(claim: FileClaim, weight: WeightFacts) -> bool:
    """Whether any stated hash of a file is the measured one."""
    return _same_sha256(claim, weight) or _same_partial(claim, weight) or _same_other(claim, weight)


def _same_sha256(claim: FileClaim, weight: WeightFacts) -> bool:
    return weight.sha256 is not None and claim.hashes.get("sha256") == weight.sha256.lower()


def _same_partial(claim: FileClaim, weight: WeightFacts) -> bool:
    if claim.hashes.get("sha256") is not None and weight.sha256 is not None:
        # The full hash was compared and differs: a part of it cannot speak for the whole file.
        return _same_payload(claim, weight)
    autov2 = claim.hashes.get("autov2")
    measured = weight.autov2 or (weight.sha256[:10] if weight.sha256 else None)
    return _same_payload(claim, weight) or (autov2 is not None and measured is not None and autov2 == measured.lower())


def _same_payload(claim: FileClaim, weight: WeightFacts) -> bool:
    stated = claim.hashes.get("autov3")
    measured = weight.payload_sha256 or weight.autov3
    return stated is not None and measured is not None and stated[:12] == measured.lower()[:12]


def _same_other(claim: FileClaim, weight: WeightFacts) -> bool:
    for kind, measured in (("blake3", weight.blake3), ("crc32", weight.crc32)):
        if measured is not None and claim.hashes.get(kind) == measured.lower():
            return True
    return False


def is_weight_claim(claim: FileClaim) -> bool:
    """Whether a stated file can be the weight file: not training data, a VAE, a configuration or an archive."""
    if claim.type is not None and claim.type.strip().casefold() in _OTHER_FILE_TYPES:
        return False
    return claim.name is None or WEIGHT_NAME.search(claim.name) is not None


def choose_file(files: Sequence[FileClaim], weight: WeightFacts | None) -> FileClaim | None:
    """The file of a version: the one whose hash matches, else the primary model, else the first safetensors model."""
    candidates = [file for file in files if is_weight_claim(file)]
    # A claim without a name is a tool's own measurement: it speaks only where nothing better does.
    candidates.sort(key=lambda file: file.name is None)
    if weight is not None:
        for file in candidates:
            if hash_matches(file, weight):
                return file
    for file in candidates:
        if file.primary:
            return file
    for file in candidates:
        if file.name is not None and file.name.lower().endswith(".safetensors"):
            return file
    return candidates[0] if candidates else None
