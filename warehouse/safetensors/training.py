"""The metadata that trainers embed: kohya's `ss_*`, `modelspec.*`, ai-toolkit's and PEFT's keys, as typed values.

Belongs here: reading `__metadata__` (all values strings, some of them JSON or Python's `None`).
Does not: the tensors. Everything here is a claim of whoever wrote the file, embedded hashes included.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeAlias

import msgspec

JSON: TypeAlias = "dict[str, JSON] | list[JSON] | str | int | float | bool | None"

MAX_TRAINING_TAGS = 200
"""Most frequent training tags that are kept."""

MAX_TAG_LENGTH = 200
_LARGEST_COUNT = 2**31
_CAPTION_LENGTH = 16
"""Mean length from which training tags are sentences, not tags (AUTOMATIC1111's rule)."""

_MAX_PARSED_BYTES = 8 << 20
_MAX_TEXT = 20_000
_EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
_HEX = re.compile(r"[0-9a-f]{8,64}")
# NUL cannot be stored by PostgreSQL, and lone surrogates not by anyone.
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")

_EMPTY_WORDS = frozenset({"None", "null", "(unknown)"})
_TEXT_KEYS = {
    "ss_output_name": "output_name",
    "ss_sd_model_name": "sd_model_name",
    "ss_base_model_version": "base_model_version",
    "ss_network_module": "network_module",
    "ss_optimizer": "optimizer",
    "ss_lr_scheduler": "lr_scheduler",
    "ss_mixed_precision": "mixed_precision",
    "ss_sd_scripts_commit_hash": "sd_scripts_commit",
    "ss_training_comment": "comment",
    "modelspec.architecture": "architecture",
    "modelspec.implementation": "implementation",
    "modelspec.prediction_type": "prediction_type",
    "modelspec.merged_from": "merged_from",
}
_NUMBER_KEYS = {
    "ss_epoch": "epoch",
    "ss_num_epochs": "epochs",
    "ss_steps": "steps",
    "ss_max_train_steps": "max_train_steps",
    "ss_num_train_images": "num_train_images",
    "ss_num_reg_images": "num_reg_images",
    "ss_total_batch_size": "batch_size",
    "ss_gradient_accumulation_steps": "gradient_accumulation_steps",
    "ss_learning_rate": "learning_rate",
    "ss_unet_lr": "unet_lr",
    "ss_text_encoder_lr": "text_encoder_lr",
    "ss_lr_warmup_steps": "lr_warmup_steps",
    "ss_network_dim": "network_dim",
    "ss_network_alpha": "network_alpha",
    "ss_network_dropout": "network_dropout",
    "ss_clip_skip": "clip_skip",
    "ss_noise_offset": "noise_offset",
    "ss_min_snr_gamma": "min_snr_gamma",
    "ss_seed": "seed",
}
_HASH_KEYS = {
    "ss_sd_model_hash": "sd_model_hash",
    "ss_new_sd_model_hash": "sd_model_sha256",
    "sshs_model_hash": "claimed_payload_sha256",
    "sshs_legacy_hash": "claimed_autov1",
    "modelspec.hash_sha256": "claimed_modelspec_sha256",
}
_JSON_KEYS = (
    "ss_tag_frequency",
    "ss_dataset_dirs",
    "ss_datasets",
    "ss_network_args",
    "training_info",
    "software",
    "creator",
    "lora_adapter_metadata",
)


@dataclass(frozen=True, slots=True)
class TrainingMetadata:
    """What `__metadata__` says. Texts are stripped and None when empty; `values` is the decoded metadata."""

    title: str | None
    author: str | None
    description: str | None
    license: str | None
    usage_hint: str | None
    trigger_phrase: str | None
    date: str | None
    resolution: str | None
    modelspec_tags: list[str]
    training_tags: dict[str, int]
    is_captions: bool
    thumbnail_mime: str | None
    training: dict[str, JSON]
    values: dict[str, object]


def read_training(metadata: Mapping[str, object]) -> TrainingMetadata:
    """Read `metadata` as a header holds it (all strings) or as tools dump it (JSON values already decoded)."""
    values = _decoded(metadata)
    tags = training_tags(values.get("ss_tag_frequency"))
    return TrainingMetadata(
        title=text(values.get("modelspec.title")) or text(values.get("ss_output_name")) or text(values.get("name")),
        author=text(values.get("modelspec.author")) or _member(values.get("creator"), "name"),
        description=text(values.get("modelspec.description")) or text(values.get("ss_training_comment")),
        license=text(values.get("modelspec.license")),
        usage_hint=text(values.get("modelspec.usage_hint")),
        trigger_phrase=text(values.get("modelspec.trigger_phrase")),
        date=text(values.get("modelspec.date")),
        resolution=resolution(values.get("modelspec.resolution"))
        or resolution(values.get("ss_resolution"))
        or _dataset_resolution(values),
        modelspec_tags=_tag_list(values.get("modelspec.tags")),
        training_tags=dict(tags.most_common(MAX_TRAINING_TAGS)),
        is_captions=bool(tags) and sum(map(len, tags)) / len(tags) >= _CAPTION_LENGTH,
        thumbnail_mime=_thumbnail_mime(values.get("modelspec.thumbnail")),
        training=_training(values),
        values=values,
    )


def text(value: object) -> str | None:
    """A non-empty text, or None; Python's `None` written as a string counts as empty."""
    if not isinstance(value, str):
        return None
    cleaned = _UNSTORABLE.sub("", value[:_MAX_TEXT]).strip()
    return cleaned if cleaned and cleaned not in _EMPTY_WORDS else None


def number(value: object) -> int | float | None:
    """A finite number from a number or its text; None for everything else (`None`, `Dynamic`, `nan`)."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        parsed = float(value)
    except (ValueError, OverflowError):
        return None
    if not math.isfinite(parsed) or abs(parsed) > 2**53:
        return None
    return int(parsed) if parsed.is_integer() else parsed


def resolution(value: object) -> str | None:
    """`1024x1024` from `1024x1024`, `(1024, 1024)`, `[1024, 1024]` or `1024`; None otherwise."""
    figures = re.findall(r"\d{1,6}", str(value)) if isinstance(value, str | list | tuple | int) else []
    if len(figures) == 1:
        figures *= 2
    return "x".join(figures) if len(figures) == 2 else None


def training_tags(value: object) -> Counter[str]:
    """Tag counts summed over all datasets of kohya's `ss_tag_frequency` (dataset → tag → count)."""
    total: Counter[str] = Counter()
    for dataset in value.values() if isinstance(value, Mapping) else ():
        for tag, count in dataset.items() if isinstance(dataset, Mapping) else ():
            cleaned = text(tag)
            times = count if type(count) is int else number(count)  # thousands of tags, nearly all plain integers
            if cleaned is not None and times is not None and 0 < times <= _LARGEST_COUNT:
                total[cleaned[:MAX_TAG_LENGTH]] += int(times)
    return total


def _decoded(metadata: Mapping[str, object]) -> dict[str, object]:
    values = dict(metadata)
    for key in _JSON_KEYS:
        raw = values.get(key)
        if isinstance(raw, str):
            values[key] = _json(raw)
    return values


def _json(raw: str) -> JSON:
    if len(raw) > _MAX_PARSED_BYTES:
        return None
    try:
        decoded: JSON = msgspec.json.decode(raw)
    except (msgspec.DecodeError, RecursionError, UnicodeEncodeError):
        return None
    return decoded


def _training(values: Mapping[str, object]) -> dict[str, JSON]:
    facts: dict[str, JSON] = {}
    for key, name in _TEXT_KEYS.items():
        facts[name] = text(values.get(key))
    for key, name in _NUMBER_KEYS.items():
        facts[name] = number(values.get(key))
    for key, name in _HASH_KEYS.items():
        facts[name] = _claimed_hash(values.get(key))
    facts["is_v2"] = _flag(values.get("ss_v2"))
    facts["started_at"] = _moment(values.get("ss_training_started_at"))
    facts["finished_at"] = _moment(values.get("ss_training_finished_at"))
    facts["seconds"] = _seconds(values)
    facts["images"] = _image_count(values)
    facts["network_args"] = _plain(values.get("ss_network_args"))
    facts["software"] = _member(values.get("software"), "name")
    facts["software_version"] = _member(values.get("software"), "version")
    info = values.get("training_info")
    if isinstance(info, Mapping):
        facts["steps"] = facts["steps"] or number(info.get("step"))
        facts["epoch"] = facts["epoch"] or number(info.get("epoch"))
    return {name: value for name, value in facts.items() if value is not None}


def _flag(value: object) -> bool | None:
    return {"true": True, "false": False}.get(str(value).lower())


def _moment(value: object) -> str | None:
    seconds = number(value)
    if seconds is None or not 0 < seconds < 2**33:
        return None
    return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _seconds(values: Mapping[str, object]) -> int | None:
    start, end = number(values.get("ss_training_started_at")), number(values.get("ss_training_finished_at"))
    return int(end - start) if start is not None and end is not None and end >= start else None


def _image_count(values: Mapping[str, object]) -> int | None:
    """Distinct training images: `img_count` of every folder, repeats not counted."""
    folders = values.get("ss_dataset_dirs")
    members = list(folders.values()) if isinstance(folders, Mapping) else []
    if not members:
        members = [subset for dataset in _datasets(values) for subset in _list(dataset.get("subsets"))]
    counts = [number(member.get("img_count")) for member in members if isinstance(member, Mapping)]
    return int(sum(count for count in counts if count is not None)) or None


def _datasets(values: Mapping[str, object]) -> list[Mapping[str, object]]:
    return [dataset for dataset in _list(values.get("ss_datasets")) if isinstance(dataset, Mapping)]


def _dataset_resolution(values: Mapping[str, object]) -> str | None:
    return next((found for dataset in _datasets(values) if (found := resolution(dataset.get("resolution")))), None)


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _claimed_hash(value: object) -> str | None:
    """A lower-case hexadecimal claim; the hash of nothing, which some trainers write, counts as none."""
    claimed = (text(value) or "").lower().removeprefix("0x")
    return claimed if _HEX.fullmatch(claimed) and claimed != _EMPTY_SHA256 else None


def _member(value: object, key: str) -> str | None:
    return text(value.get(key)) if isinstance(value, Mapping) else None


def _plain(value: object) -> dict[str, JSON] | None:
    """A flat copy of a small mapping: scalars only, and no number that JSON cannot say."""
    if not isinstance(value, Mapping) or not value:
        return None
    return {
        str(key)[:100]: item[:500] if isinstance(item, str) else item
        for key, item in list(value.items())[:50]
        if item is None or isinstance(item, str | int | bool) or (isinstance(item, float) and math.isfinite(item))
    }


def _tag_list(value: object) -> list[str]:
    parts = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else []
    return list(dict.fromkeys(tag for part in parts[:1000] if (tag := text(part))))


def _thumbnail_mime(value: object) -> str | None:
    match = re.match(r"data:(image/[a-z0-9.+-]{1,40})[;,]", value) if isinstance(value, str) else None
    return match.group(1) if match else None
