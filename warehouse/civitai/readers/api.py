"""The Civitai REST API: model items, list pages and version documents, of every generation since 2023.

Also read here, because they store the same objects: `.civitai.info` (Civitai-Helper and forks), SD.Next's `name.json`,
civitdl's `model_dict`, sd-civitai-browser-plus' `.api_info.json`, and the `civitai` object of LoRA Manager.
"""

from typing import Final

from warehouse.civitai.fields import Fields
from warehouse.civitai.readers import a1111
from warehouse.civitai.readers.claims import file_claim
from warehouse.civitai.readers.examples import examples
from warehouse.civitai.records import JsonObject, Licence, ModelFacts, Record, VersionFacts
from warehouse.civitai.values import commercial_use
from warehouse.civitai.verdicts import ComplaintCode, Shape

MAX_VERSIONS: Final = 2000
MAX_FILES: Final = 500
_EXACT: Final = 2**53
"""Whole numbers below it are what they were after being read as a double."""
_LICENCE_KEYS: Final = frozenset({"allowNoCredit", "allowCommercialUse", "allowDerivatives", "allowDifferentLicense"})
_MODEL_KEYS: Final = _LICENCE_KEYS | {
    "id", "name", "type", "description", "creator", "tags", "nsfw", "nsfwLevel", "availability",
    "supportsGeneration", "stats", "modelVersions",
}  # fmt: skip
_VERSION_KEYS: Final = frozenset(
    {
        "id", "modelId", "name", "description", "baseModel", "trainedWords", "files", "images", "downloadUrl",
        "publishedAt", "nsfwLevel", "availability", "supportsGeneration", "stats", "model", "creator",
    }
)  # fmt: skip
_MODEL_OR_USER_KEYS: Final = _MODEL_KEYS | a1111.KEYS
_VERSION_OR_USER_KEYS: Final = _VERSION_KEYS | a1111.KEYS


def read_model(fields: Fields, shape: Shape = Shape.MODEL) -> tuple[Record, ...]:
    """One record per version of a model item; one without a version if it lists none."""
    model = model_facts(fields, _MODEL_OR_USER_KEYS)
    user = a1111.user_facts(fields)
    records = tuple(
        Record(shape=shape, model=model, version=version_facts(version), user=user)
        for version in fields.children("modelVersions", MAX_VERSIONS)
    )
    return records or (Record(shape=shape, model=model, user=user),)


def read_version(fields: Fields, shape: Shape = Shape.VERSION) -> tuple[Record, ...]:
    """The record of a version document, with what it embeds of its model."""
    model = embedded_model(fields)
    version = version_facts(fields, _VERSION_OR_USER_KEYS)
    return (Record(shape=shape, model=model, version=version, user=a1111.user_facts(fields)),)


def embedded_model(fields: Fields) -> ModelFacts:
    """What a version document says of its model: `modelId`, the `model` object and (in some forks) the creator."""
    inner = fields.child("model")
    if inner is None:
        return ModelFacts(civitai_id=fields.identifier("modelId"), author=_author(fields))
    facts = model_facts(inner, _MODEL_KEYS)
    return ModelFacts(
        civitai_id=fields.identifier("modelId") or facts.civitai_id,
        name=facts.name,
        type=facts.type,
        description=facts.description,
        author=_author(fields) or facts.author,
        tags=facts.tags,
        nsfw=facts.nsfw,
        nsfw_level=facts.nsfw_level,
        availability=facts.availability,
        supports_generation=facts.supports_generation,
        licence=facts.licence,
        stats=facts.stats,
        extra=facts.extra,
    )


def model_facts(fields: Fields, known: frozenset[str]) -> ModelFacts:
    """The model-level facts of an item; keys that are not `known` go to `extra`."""
    return ModelFacts(
        civitai_id=fields.identifier("id"),
        name=fields.text("name"),
        type=fields.text("type"),
        description=fields.text("description"),
        author=_author(fields),
        tags=tag_names(fields, "tags"),
        nsfw=fields.flag("nsfw"),
        nsfw_level=_mask(fields),
        availability=fields.text("availability"),
        supports_generation=fields.flag("supportsGeneration"),
        licence=licence(fields),
        stats=statistics(fields, "stats"),
        extra=fields.others(known),
    )


def version_facts(fields: Fields, known: frozenset[str] = _VERSION_KEYS) -> VersionFacts:
    """The facts of a version object; keys that are not `known` go to `extra`."""
    return VersionFacts(
        civitai_id=fields.identifier("id"),
        name=fields.text("name"),
        description=fields.text("description"),
        base_model=fields.text("baseModel"),
        trained_words=fields.texts("trainedWords"),
        files=tuple(file_claim(file) for file in fields.children("files", MAX_FILES)),
        examples=examples(fields),
        download_url=fields.text("downloadUrl"),
        published_at=fields.moment("publishedAt") or fields.moment("createdAt"),
        nsfw_level=_mask(fields),
        availability=fields.text("availability"),
        supports_generation=fields.flag("supportsGeneration"),
        stats=statistics(fields, "stats"),
        extra=fields.others(known),
    )


def _author(fields: Fields) -> str | None:
    creator = fields.child("creator")
    return creator.text("username") if creator is not None else None


def tag_names(fields: Fields, key: str) -> tuple[str, ...]:
    """Tags as texts, or as objects with a `name` as very old documents had them."""
    value = fields.data.get(key)
    if type(value) is list and any(type(item) is dict for item in value):
        return tuple(
            name
            for item in value
            if (name := item if type(item) is str else item.get("name") if type(item) is dict else None)
            and type(name) is str
            and name.strip()
        )
    return fields.texts(key)


def _mask(fields: Fields) -> int | None:
    level = fields.integer("nsfwLevel")
    return level if level is not None and level > 0 else None


def licence(fields: Fields) -> Licence:
    """The permissions as stated; an `allowCommercialUse` that is not understood is a complaint and unknown."""
    data = fields.data
    if data.keys().isdisjoint(_LICENCE_KEYS):
        return Licence()
    stated = data.get("allowCommercialUse")
    uses = commercial_use(stated)
    if uses is None and stated is not None:
        path = f"{fields.path}.allowCommercialUse"
        fields.log.add(
            ComplaintCode.UNKNOWN_VALUE,
            path,
            f"{path} is none of the known permissions ({str(stated)[:60]}); the permission stays unknown.",
        )
    return Licence(
        allow_no_credit=fields.flag("allowNoCredit"),
        allow_commercial_use=uses,
        allow_derivatives=fields.flag("allowDerivatives"),
        allow_different_license=fields.flag("allowDifferentLicense"),
    )


def statistics(fields: Fields, key: str) -> JsonObject:
    """The numbers of a statistics object under their stated names."""
    inner = fields.child(key)
    if inner is None:
        return {}
    result: JsonObject = {}
    for name, stated in inner.data.items():
        if type(stated) is int and 0 <= stated < _EXACT and name != "rating":
            result[name] = stated
        elif (value := inner.number(name)) is not None:
            result[name] = int(value) if value.is_integer() and name != "rating" else value
    return result
