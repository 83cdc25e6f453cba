"""Flat `modelspec.*` keys: SwarmUI's `name.swarm.json`, and dumps of a safetensors file's `__metadata__`.

The hash stated here is of the bytes after the header: it is compared with the payload's hash, never with the file's.
"""

import re
from datetime import datetime
from typing import Final

from warehouse.civitai.fields import Fields, parse_time
from warehouse.civitai.names import split_title
from warehouse.civitai.readers.claims import hash_claim
from warehouse.civitai.records import JsonObject, Licence, ModelFacts, Record, UserFacts, VersionFacts
from warehouse.civitai.verdicts import Shape

PREFIX: Final = "modelspec."
CIVITAI_LINK: Final = re.compile(r"civitai[a-z.]*/models/(\d{1,18})(?:[^\s\"'<>]*?[?&;]modelVersionId=(\d{1,18}))?")
_CIVITAI_BASES: Final = frozenset({"pony", "illustrious", "noobai"})
_ARCHITECTURES: Final = (
    ("stable-diffusion-xl", "SDXL 1.0"),
    ("stable-diffusion-v1", "SD 1.5"),
    ("stable-diffusion-v2-768-v", "SD 2.1 768"),
    ("stable-diffusion-v2", "SD 2.1"),
    ("stable-diffusion-3.5-large", "SD 3.5 Large"),
    ("stable-diffusion-3.5-medium", "SD 3.5 Medium"),
    ("stable-diffusion-3", "SD 3"),
    ("stable-diffusion-v3", "SD 3"),
    ("stable-cascade", "Stable Cascade"),
    ("flux-1-schnell", "Flux.1 S"),
    ("flux-1-dev", "Flux.1 D"),
    ("flux-1", "Flux.1 D"),
    ("auraflow", "AuraFlow"),
    ("kolors", "Kolors"),
    ("lumina-2", "Lumina"),
    ("chroma", "Chroma"),
    ("qwen-image", "Qwen"),
    ("z-image", "ZImageTurbo"),
)
_SD_BASES: Final = {"sd_v1": "SD 1.5", "sd_v2": "SD 2.1", "sdxl_base_v1-0": "SDXL 1.0", "sdxl_base_v0-9": "SDXL 0.9"}
_FROM_LINE: Final = re.compile(r"\A\s*From\s*<a\b[^>]*>.*?</a>\s*(<br\s*/?>)?\s*", re.IGNORECASE | re.DOTALL)
_LIST_SEPARATOR: Final = re.compile(r"\s*,\s*")
_PHRASE_SEPARATOR: Final = re.compile(r"\s*;\s*")
_KNOWN_SPEC: Final = frozenset(
    {
        "title", "author", "description", "preview_image", "thumbnail", "license", "date", "usage_hint",
        "trigger_phrase", "tags", "lora_default_weight", "hash_sha256",
    }
)  # fmt: skip
_BULKY: Final = ("ss_bucket_info", "ss_datasets", "ss_tag_frequency", "ss_dataset_dirs", "ss_reg_dataset_dirs")


def architecture(fields: Fields) -> str | None:
    """The stated architecture (`stable-diffusion-xl-v1-base/lora`), in lower case."""
    value = fields.data.get(f"{PREFIX}architecture")
    return value.strip().casefold() if isinstance(value, str) and value.strip() else None


def read_swarm(fields: Fields) -> tuple[Record, ...]:
    """The record of a SwarmUI sidecar; the numbers of model and version stand in a link of the description."""
    spec = _spec(fields)
    description = spec.text("description")
    link = CIVITAI_LINK.search(description[:4096]) if description else None
    title = spec.text("title")
    name, version_name = split_title(title) if title and link else (title, None)
    if description and link:
        description = _FROM_LINE.sub("", description, count=1)
    hint = spec.text("usage_hint")
    hint_is_base = hint is not None and hint.strip().casefold() in _CIVITAI_BASES
    record = _record(
        fields,
        spec,
        shape=Shape.SWARM,
        name=name,
        version_name=version_name,
        description=description,
        base_model=hint.strip() if hint and hint_is_base else base_model_of(architecture(fields)),
        notes=None if hint_is_base else hint,
        model_id=int(link[1]) if link else None,
        version_id=int(link[2]) if link and link[2] else None,
        published_at=_date(spec),
    )
    return (record,)


def read_dump(fields: Fields) -> tuple[Record, ...]:
    """The record of a dumped `__metadata__`: `modelspec.*`, kohya's `ss_*`, or ai-toolkit's few keys."""
    spec = _spec(fields)
    stated_base = fields.data.get("ss_base_model_version")
    base = base_model_of(architecture(fields))
    if base is None and isinstance(stated_base, str):
        base = _SD_BASES.get(stated_base.strip()) or base_model_of(stated_base.strip().casefold())
    comment = fields.text("ss_training_comment")
    record = _record(
        fields,
        spec,
        shape=Shape.HEADER_DUMP,
        name=spec.text("title") or fields.text("ss_output_name") or _toolkit_name(fields),
        version_name=None,
        description=spec.text("description") or (None if comment == "None" else comment),
        base_model=base,
        notes=spec.text("usage_hint"),
        model_id=None,
        version_id=None,
        published_at=None,
    )
    return (record,)


def _toolkit_name(fields: Fields) -> str | None:
    return fields.text("name") if isinstance(fields.data.get("name"), str) else None


def base_model_of(stated: str | None) -> str | None:
    """Civitai's spelling of an architecture's base model, or None."""
    if stated is None:
        return None
    for prefix, name in _ARCHITECTURES:
        if stated.startswith(prefix):
            return name
    return None


def _spec(fields: Fields) -> Fields:
    """The `modelspec.*` keys without their prefix."""
    length = len(PREFIX)
    inner = {key[length:]: value for key, value in fields.data.items() if key.startswith(PREFIX)}
    return Fields(inner, f"{fields.path}.modelspec", fields.log)


def _date(spec: Fields) -> datetime | None:
    text = spec.text("date")
    return parse_time(text) if text else None


def _payload_hash(fields: Fields, spec: Fields) -> str | None:
    if "hash_sha256" in spec.data:
        return hash_claim(spec, "hash_sha256", "sha256")
    if "sshs_model_hash" in fields.data:
        return hash_claim(fields, "sshs_model_hash", "sha256")
    return None


def _listed(spec: Fields, key: str, separator: re.Pattern[str]) -> tuple[str, ...]:
    value = spec.data.get(key)
    if isinstance(value, list):
        return spec.texts(key)
    text = spec.text(key)
    return tuple(part for part in separator.split(text) if part.strip()) if text else ()


def _record(
    fields: Fields,
    spec: Fields,
    *,
    shape: Shape,
    name: str | None,
    version_name: str | None,
    description: str | None,
    base_model: str | None,
    notes: str | None,
    model_id: int | None,
    version_id: int | None,
    published_at: datetime | None,
) -> Record:
    weight = spec.number("lora_default_weight")
    return Record(
        shape=shape,
        model=ModelFacts(
            civitai_id=model_id,
            name=name,
            description=description,
            author=spec.text("author"),
            tags=_listed(spec, "tags", _LIST_SEPARATOR),
            licence=Licence(text=spec.text("license")),
        ),
        version=VersionFacts(
            civitai_id=version_id,
            name=version_name,
            base_model=base_model,
            trained_words=_listed(spec, "trigger_phrase", _PHRASE_SEPARATOR),
            published_at=published_at,
        ),
        user=UserFacts(notes=notes, preferred_weight=weight or None),
        payload_sha256=_payload_hash(fields, spec),
        extra=_others(fields),
    )


def _others(fields: Fields) -> JsonObject:
    """Keys that are read nowhere else, under their full names; bulky training tables stay in the raw document."""
    known = frozenset({*(f"{PREFIX}{key}" for key in _KNOWN_SPEC), *_BULKY})
    return fields.others(known)
