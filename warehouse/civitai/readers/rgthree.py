"""rgthree-comfy's `file.safetensors.rgthree-info.json`: the user's words and notes, and a Civitai version inside.

Of its words only those that came from Civitai or from the user are triggers; the rest are training tags.
"""

from typing import Final

import msgspec

from warehouse.civitai.fields import Fields
from warehouse.civitai.names import civitai_link, split_title
from warehouse.civitai.readers.api import embedded_model, version_facts
from warehouse.civitai.readers.claims import hash_claim
from warehouse.civitai.readers.examples import examples
from warehouse.civitai.records import Example, FileClaim, ModelFacts, Record, UserFacts, VersionFacts
from warehouse.civitai.values import nsfw_level
from warehouse.civitai.verdicts import Shape

_KNOWN: Final = frozenset(
    {
        # `path` and `modified` go stale with every move.
        "file", "path", "modified", "name", "type", "baseModel", "triggerWords", "trainedWords", "description",
        "sha256", "images", "userTags", "userNote", "raw", "hasInfoFile", "imageLocal",
    }
)  # fmt: skip


def read(fields: Fields) -> tuple[Record, ...]:
    """One record about the weight beside the document."""
    raw = fields.child("raw")
    civitai = raw.child("civitai") if raw is not None else None
    model = embedded_model(civitai) if civitai is not None else ModelFacts()
    version = version_facts(civitai) if civitai is not None else VersionFacts()
    title = fields.text("name")
    name, version_name = split_title(title) if title else (None, None)
    model_id, version_id = _link_ids(fields)
    sha256 = hash_claim(fields, "sha256", "sha256")
    local = (FileClaim(hashes={"sha256": sha256}),) if sha256 else ()
    model = msgspec.structs.replace(
        model,
        civitai_id=model.civitai_id or model_id,
        name=model.name or name,
        type=model.type or fields.text("type"),
    )
    version = msgspec.structs.replace(
        version,
        civitai_id=version.civitai_id or version_id,
        name=version.name or version_name,
        base_model=version.base_model or fields.text("baseModel"),
        trained_words=_trigger_words(fields) or version.trained_words,
        description=version.description or fields.text("description"),
        files=(*local, *version.files),
        examples=_images(fields) or version.examples,
    )
    user = UserFacts(notes=fields.text("userNote"), tags=fields.texts("userTags"))
    return (Record(shape=Shape.RGTHREE, model=model, version=version, user=user, extra=fields.others(_KNOWN)),)


def _link_ids(fields: Fields) -> tuple[int | None, int | None]:
    for link in fields.texts("links"):
        found = civitai_link(link)
        if found is not None:
            return found
    return None, None


def _trigger_words(fields: Fields) -> tuple[str, ...]:
    words = []
    stated = fields.data.get("trainedWords")
    if isinstance(stated, list) and any(isinstance(item, dict) for item in stated):
        for item in fields.children("trainedWords"):
            is_trigger = item.data.get("civitai") or item.data.get("user") or "count" not in item.data
            word = item.text("word")
            if is_trigger and word:
                words.append(word)
        return tuple(words)
    return fields.texts("trainedWords") or fields.texts("triggerWords")


def _images(fields: Fields) -> tuple[Example, ...]:
    """The tool's own list, which names the generation data differently than Civitai does."""
    result = []
    for image in fields.children("images"):
        if "positive" not in image.data:
            continue
        result.append(
            Example(
                url=image.text("url"),
                type=image.text("type"),
                width=image.integer("width"),
                height=image.integer("height"),
                nsfw_level=nsfw_level(image.data.get("nsfwLevel")),
                prompt=image.text("positive"),
                negative_prompt=image.text("negative"),
                sampler=image.text("sampler"),
                steps=image.integer("steps"),
                cfg_scale=image.number("cfg"),
                seed=image.integer("seed"),
            )
        )
    return tuple(result) or examples(fields)
