"""Example images of a version with the generation data that they carry: `images[]` of the Civitai API.

Belongs here: entries of `images[]`, in both ways in which they are read. Entries whose values have the types that they
should have, which nearly all do, are converted at once; one that is not has its list read field by field, leniently and
with complaints, to the same result.
"""

from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from warehouse.civitai.fields import Fields, whole_number
from warehouse.civitai.records import Example, JsonObject
from warehouse.civitai.values import NSFW_MASK, nsfw_level

MAX_EXAMPLES: Final = 200
_Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]


class _Resource(Struct, gc=False):
    """What an example was made with, by either spelling."""

    name: str | None = None
    model_name: str | None = msgspec.field(name="modelName", default=None)
    type: str | None = None
    weight: float | None = None
    version_id: _Int64 | None = msgspec.field(name="modelVersionId", default=None)
    hash: str | None = None


class _Generation(Struct):
    """The generation data of an image."""

    prompt: str | UnsetType | None = UNSET
    negative_prompt: str | None = msgspec.field(name="negativePrompt", default=None)
    sampler: str | None = None
    steps: _Int64 | None = None
    cfg_scale: float | None = msgspec.field(name="cfgScale", default=None)
    seed: _Int64 | None = None
    spaced_clip_skip: Any = msgspec.field(name="Clip skip", default=None)
    clip_skip: Any = msgspec.field(name="clipSkip", default=None)
    resources: list[_Resource | None] | None = None
    civitai_resources: list[_Resource | None] | None = msgspec.field(name="civitaiResources", default=None)
    meta: Any = None


class _Image(Struct):
    """An entry of `images[]`."""

    url: str | None = None
    type: str | None = None
    width: _Int64 | None = None
    height: _Int64 | None = None
    nsfw_level: Any = msgspec.field(name="nsfwLevel", default=None)
    nsfw: Any = None
    meta: _Generation | None = None


_Images = list[_Image | None]


def examples(fields: Fields) -> tuple[Example, ...]:
    """The example images that say anything at all, the first `MAX_EXAMPLES` of them."""
    listed = fields.data.get("images")
    if type(listed) is list and len(listed) <= MAX_EXAMPLES:
        try:
            images = msgspec.convert(listed, _Images)
            return tuple([_example(image) for image, stated in zip(images, listed, strict=True) if image and stated])
        except (msgspec.ValidationError, _Unusual):
            pass
    return _read_examples(fields)


class _Unusual(Exception):  # noqa: N818 - a shape to be read in the other way, no fault
    """Generation data inside generation data."""


def _example(image: _Image) -> Example:
    level, meta = image.nsfw_level, image.meta
    if type(level) is not int or not 0 < level <= NSFW_MASK:
        level = _level(level, image.nsfw)
    if meta is None:
        return Example(
            url=_said(image.url), type=_said(image.type), width=image.width, height=image.height, nsfw_level=level
        )
    prompt = meta.prompt
    if prompt is UNSET:
        if type(meta.meta) is dict:
            raise _Unusual
        prompt = None
    return Example(
        url=_said(image.url),
        type=_said(image.type),
        width=image.width,
        height=image.height,
        nsfw_level=level,
        prompt=_said(prompt),
        negative_prompt=_said(meta.negative_prompt),
        sampler=_said(meta.sampler),
        steps=meta.steps,
        cfg_scale=meta.cfg_scale,
        seed=meta.seed,
        clip_skip=_clip_skip(meta.spaced_clip_skip, meta.clip_skip),
        resources=_resources(meta.resources, meta.civitai_resources),
    )


def _said(text: str | None) -> str | None:
    return text if text and not text.isspace() else None


def _level(stated: Any, older: Any) -> int | None:
    level = nsfw_level(stated)
    return level if level is not None else nsfw_level(older)


def _clip_skip(*stated: Any) -> int | None:
    for value in stated:
        if type(value) is int:
            return value
        if type(value) is str:
            return whole_number(value)
    return None


def _resources(*lists: Sequence[_Resource | None] | None) -> tuple[JsonObject, ...]:
    result = []
    for listed in lists:
        for item in listed or ():
            if item is None:
                continue
            resource: JsonObject = {}
            if (name := _said(item.name) or _said(item.model_name)) is not None:
                resource["name"] = name
            if (kind := _said(item.type)) is not None:
                resource["type"] = kind
            if item.weight is not None:
                resource["weight"] = item.weight
            if item.version_id is not None and item.version_id > 0:
                resource["version_id"] = item.version_id
            if (digest := _said(item.hash)) is not None:
                resource["hash"] = digest
            if resource:
                result.append(resource)
    return tuple(result)


def _read_examples(fields: Fields) -> tuple[Example, ...]:
    result = []
    for image in fields.children("images"):
        if image.data:
            result.append(example(image))
            if len(result) == MAX_EXAMPLES:
                break
    return tuple(result)


def example(fields: Fields) -> Example:
    """One entry of `images[]`, with the generation data of its `meta` where there are any."""
    return _example(_read_image(fields))


def _read_image(fields: Fields) -> _Image:
    data = fields.data
    meta = fields.child("meta") if data.get("meta") is not None else None
    if meta is not None and "prompt" not in meta.data and type(meta.data.get("meta")) is dict:
        # The image endpoint of 2025 wraps the generation data once more.
        meta = Fields(meta.data["meta"], f"{meta.path}.meta", meta.log)
    return _Image(
        url=fields.text("url"),
        type=fields.text("type"),
        width=fields.integer("width"),
        height=fields.integer("height"),
        nsfw_level=data.get("nsfwLevel"),
        nsfw=data.get("nsfw"),
        meta=_read_generation(meta) if meta is not None else None,
    )


def _read_generation(meta: Fields) -> _Generation:
    return _Generation(
        prompt=meta.text("prompt"),
        negative_prompt=meta.text("negativePrompt"),
        sampler=meta.text("sampler"),
        steps=meta.integer("steps"),
        cfg_scale=meta.number("cfgScale"),
        seed=meta.integer("seed"),
        spaced_clip_skip=meta.data.get("Clip skip"),
        clip_skip=meta.data.get("clipSkip"),
        resources=_read_resources(meta, "resources"),
        civitai_resources=_read_resources(meta, "civitaiResources"),
    )


def _read_resources(meta: Fields, key: str) -> list[_Resource | None] | None:
    if key not in meta.data:
        return None
    return [
        _Resource(
            name=item.text("name") or item.text("modelName"),
            type=item.text("type"),
            weight=item.number("weight"),
            version_id=item.identifier("modelVersionId"),
            hash=item.text("hash"),
        )
        for item in meta.children(key)
    ]
