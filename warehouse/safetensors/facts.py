"""What a header alone tells of an adapter: `HeaderFacts`, and how to get them from a header or from its metadata.

Belongs here: the assembly of the parts. Does not: the parts (`networks`, `architectures`, `training`).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from warehouse.safetensors.architectures import detect_base_model
from warehouse.safetensors.header import Header
from warehouse.safetensors.modules import tabulate
from warehouse.safetensors.networks import ReadBytes, describe_network
from warehouse.safetensors.training import JSON, read_training, text

MAX_METADATA_VALUE = 16_384
MAX_METADATA_KEYS = 500
_THUMBNAIL_KEYS = frozenset({"modelspec.thumbnail", "thumbnail", "preview_image", "modelspec.preview_image"})


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderFacts:
    """Everything the header alone tells; None or empty where it says nothing.

    `rank` and `alpha` are the most frequent ones, `per_module_rank` maps rank → modules; `dtypes` maps dtype →
    tensors. `base_model` is spelled as on Civitai, with the chance (0..1) that it is right and what shows it.
    `metadata` is the raw `__metadata__` without thumbnails, values cut to 16,384 characters, at most 500 keys.
    `training_tags` are the 200 most frequent over all datasets; `is_captions` says that they are sentences.
    """

    tensor_count: int = 0
    parameter_count: int = 0
    dtypes: dict[str, int] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    network_type: str | None = None
    rank: int | None = None
    alpha: float | None = None
    per_module_rank: dict[int, int] = field(default_factory=dict)
    base_model: str | None = None
    base_model_confidence: float | None = None
    base_model_evidence: str | None = None
    title: str | None = None
    author: str | None = None
    description: str | None = None
    license: str | None = None
    usage_hint: str | None = None
    trigger_phrase: str | None = None
    date: str | None = None
    resolution: str | None = None
    modelspec_tags: list[str] = field(default_factory=list)
    training_tags: dict[str, int] = field(default_factory=dict)
    is_captions: bool = False
    training: dict[str, JSON] = field(default_factory=dict)
    thumbnail_mime: str | None = None


def describe_header(header: Header, *, read_bytes: ReadBytes | None = None) -> HeaderFacts:
    """The facts of `header`.

    `read_bytes` gives access to the file for the values of a few alpha tensors; without it, alpha comes from
    the metadata. Never raises for a header that `read_header` returned or attached to its error.
    """
    return _describe(header, header.metadata, read_bytes)


def describe_metadata(metadata: Mapping[str, object]) -> HeaderFacts:
    """The facts of a bare `__metadata__`, as A1111 and SD.Next keep it in their caches; values may be decoded."""
    return _describe(Header(Path(), 0, 0, 0, {}, {}), metadata, None)


def _describe(header: Header, metadata: Mapping[str, object], read_bytes: ReadBytes | None) -> HeaderFacts:
    training = read_training(metadata)
    table = tabulate(header.tensors)
    network = describe_network(header, table, training.values, read_bytes)
    base = detect_base_model(table, training.values)
    return HeaderFacts(
        tensor_count=len(header.tensors),
        parameter_count=sum(math.prod(tensor.shape) for tensor in header.tensors.values()),
        dtypes=dict(Counter(tensor.dtype for tensor in header.tensors.values()).most_common()),
        metadata=_bounded(metadata),
        network_type=network.network_type,
        rank=network.rank,
        alpha=network.alpha,
        per_module_rank=network.per_module_rank,
        base_model=base.name if base else None,
        base_model_confidence=base.confidence if base else None,
        base_model_evidence=base.evidence if base else None,
        title=training.title,
        author=training.author,
        description=training.description,
        license=training.license,
        usage_hint=training.usage_hint,
        trigger_phrase=training.trigger_phrase,
        date=training.date,
        resolution=training.resolution,
        modelspec_tags=training.modelspec_tags,
        training_tags=training.training_tags,
        is_captions=training.is_captions,
        training=training.training,
        thumbnail_mime=training.thumbnail_mime,
    )


def _bounded(metadata: Mapping[str, object]) -> dict[str, str]:
    kept: dict[str, str] = {}
    for key, value in metadata.items():
        if len(kept) == MAX_METADATA_KEYS:
            break
        if isinstance(value, str) and key not in _THUMBNAIL_KEYS:
            kept[text(key[:200]) or ""] = text(value[:MAX_METADATA_VALUE]) or ""
    return kept
