"""A hit of Civitai's site search index, which is no REST object: `metrics`, `user`, `permissions`, `hashData`."""

from typing import Final

from warehouse.civitai.fields import Fields
from warehouse.civitai.readers.api import licence, tag_names
from warehouse.civitai.readers.claims import hash_claim
from warehouse.civitai.records import FileClaim, JsonObject, ModelFacts, Record, VersionFacts
from warehouse.civitai.verdicts import Shape

_KNOWN: Final = frozenset(
    {
        "id", "name", "type", "nsfw", "nsfwLevel", "availability", "metrics", "user", "category", "permissions",
        "version", "versions", "tags", "triggerWords", "hashes", "images",
    }
)  # fmt: skip
_VERSION_KNOWN: Final = frozenset(
    {
        "id", "name", "nsfwLevel", "createdAt", "trainedWords", "baseModel", "metrics", "hashes", "hashData",
        "canGenerate",
    }
)  # fmt: skip


def read(fields: Fields) -> tuple[Record, ...]:
    """One record per version of the hit; the index gives neither description nor files."""
    model = _model(fields)
    records = tuple(
        Record(shape=Shape.SEARCH_HIT, model=model, version=_version(version))
        for version in fields.children("versions")
    )
    if records:
        return records
    single = fields.child("version")
    version = _version(single) if single is not None else None
    return (Record(shape=Shape.SEARCH_HIT, model=model, version=version),)


def _model(fields: Fields) -> ModelFacts:
    user = fields.child("user")
    category = fields.child("category")
    permissions = fields.child("permissions")
    named = category.text("name") if category is not None else None
    # Beside names the index keeps tags as numbers, which mean nothing outside the site.
    stated = fields.data.get("tags")
    names = [tag for tag in stated if not isinstance(tag, int)] if isinstance(stated, list) else []
    tags = tag_names(Fields({"tags": names}, fields.path, fields.log), "tags")
    level = fields.integer("nsfwLevel")
    extra = fields.others(_KNOWN)
    if permissions is not None:
        extra.update(permissions.others(frozenset(key for key in permissions.data if key.startswith("allow"))))
    return ModelFacts(
        civitai_id=fields.identifier("id"),
        name=fields.text("name"),
        type=fields.text("type"),
        author=user.text("username") if user is not None else None,
        tags=tags or ((named,) if named else ()),
        nsfw=fields.flag("nsfw"),
        nsfw_level=level if level is not None and level > 0 else None,
        availability=fields.text("availability"),
        licence=licence(permissions if permissions is not None else fields),
        stats=_metrics(fields),
        extra=extra,
    )


def _version(fields: Fields) -> VersionFacts:
    hashes: dict[str, str] = {}
    for item in fields.children("hashData"):
        kind = (item.text("type") or "").casefold()
        if kind in ("autov1", "autov2", "autov3", "sha256", "crc32", "blake3"):
            value = hash_claim(item, "hash", kind)
            if value is not None:
                hashes[kind] = value
    level = fields.integer("nsfwLevel")
    return VersionFacts(
        civitai_id=fields.identifier("id"),
        name=fields.text("name"),
        base_model=fields.text("baseModel"),
        trained_words=fields.texts("trainedWords"),
        files=(FileClaim(hashes=hashes, type="Model"),) if hashes else (),
        published_at=fields.moment("createdAt"),
        nsfw_level=level if level is not None and level > 0 else None,
        supports_generation=fields.flag("canGenerate"),
        stats=_metrics(fields),
        extra=fields.others(_VERSION_KNOWN),
    )


def _metrics(fields: Fields) -> JsonObject:
    metrics = fields.child("metrics")
    if metrics is None:
        return {}
    stated = {name: metrics.integer(name) for name in metrics.data}
    return {name: value for name, value in stated.items() if value is not None}
