"""ComfyUI-Lora-Manager's `name.metadata.json`: the user's notes, the tool's own facts, and a Civitai version inside."""

from typing import Final

import msgspec

from warehouse.civitai.fields import Fields
from warehouse.civitai.readers.api import embedded_model, version_facts
from warehouse.civitai.readers.claims import hash_claim
from warehouse.civitai.readers.examples import example
from warehouse.civitai.records import Example, FileClaim, JsonObject, ModelFacts, Record, UserFacts, VersionFacts
from warehouse.civitai.values import nsfw_level
from warehouse.civitai.verdicts import ComplaintCode, Shape

_KNOWN: Final = frozenset(
    {
        # `file_path` and `modified` go stale whenever a folder moves: they are neither identity nor information.
        "file_name", "model_name", "file_path", "size", "modified", "sha256", "base_model", "notes", "civitai", "tags",
        "modelDescription", "favorite", "usage_tips", "trainedWords", "autov3", "preview_nsfw_level",
    }
)  # fmt: skip


def read(fields: Fields) -> tuple[Record, ...]:
    """One record about the weight beside the document."""
    civitai = fields.child("civitai")
    inner_model = embedded_model(civitai) if civitai is not None else ModelFacts()
    inner_version = version_facts(civitai) if civitai is not None else VersionFacts()
    tips = _usage_tips(fields)
    extra = fields.others(_KNOWN)
    if tips:
        extra["usage_tips"] = tips
    sub_type = fields.text("sub_type")
    model = msgspec.structs.replace(
        inner_model,
        name=_model_name(fields) or inner_model.name,
        type=inner_model.type or sub_type,
        description=fields.text("modelDescription") or inner_model.description,
        tags=fields.texts("tags") or inner_model.tags,
    )
    version = msgspec.structs.replace(
        inner_version,
        base_model=_known_base(fields.text("base_model")) or inner_version.base_model,
        trained_words=fields.texts("trainedWords") or inner_version.trained_words,
        files=(*_local_file(fields), *inner_version.files),
        examples=inner_version.examples + (_custom_images(civitai) if civitai is not None else ()),
        nsfw_level=inner_version.nsfw_level or nsfw_level(fields.data.get("preview_nsfw_level")),
    )
    user = UserFacts(
        notes=fields.text("notes"),
        favorite=fields.flag("favorite"),
        preferred_weight=_strength(tips),
    )
    return (Record(shape=Shape.LORA_MANAGER, model=model, version=version, user=user, extra=extra),)


def _model_name(fields: Fields) -> str | None:
    """The name, unless it is the file's own, which the tool writes where it knows none."""
    name = fields.text("model_name")
    return None if name is not None and name == fields.text("file_name") else name


def _known_base(stated: str | None) -> str | None:
    return None if stated is None or stated.strip().casefold() == "unknown" else stated


def _local_file(fields: Fields) -> tuple[FileClaim, ...]:
    """The tool's own measurement of the file beside it; it goes stale when the file is replaced, so it is a claim."""
    hashes = {kind: value for kind in ("sha256", "autov3") if (value := hash_claim(fields, kind, kind)) is not None}
    return (FileClaim(hashes=hashes),) if hashes else ()


def _custom_images(civitai: Fields) -> tuple[Example, ...]:
    return tuple(example(image) for image in civitai.children("customImages") if image.data)


def _usage_tips(fields: Fields) -> JsonObject:
    """The tips, which are a JSON object inside a text."""
    stated = fields.data.get("usage_tips")
    if isinstance(stated, dict):
        return stated
    text = fields.text("usage_tips")
    if text is None:
        return {}
    try:
        value = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        value = None
    if isinstance(value, dict):
        return value
    path = f"{fields.path}.usage_tips"
    fields.log.add(ComplaintCode.WRONG_TYPE, path, f"{path} should hold a JSON object as text; it is ignored.")
    return {}


def _strength(tips: JsonObject) -> float | None:
    value = tips.get("strength")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if value and abs(value) < 1000 else None
