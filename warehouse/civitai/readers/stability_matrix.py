"""Stability Matrix' `name.cm-info.json`: PascalCase, no licence, no publication date."""

from typing import Final

from warehouse.civitai.fields import Fields
from warehouse.civitai.readers.api import statistics
from warehouse.civitai.readers.claims import hash_claims
from warehouse.civitai.records import FileClaim, ModelFacts, Record, UserFacts, VersionFacts
from warehouse.civitai.verdicts import Shape

_KNOWN: Final = frozenset(
    {
        "ModelId", "ModelName", "ModelDescription", "Nsfw", "Tags", "ModelType", "VersionId", "VersionName",
        "VersionDescription", "AuthorUsername", "BaseModel", "RemoteFileName", "Hashes", "TrainedWords", "Stats",
        "UserTitle", "FileMetadata", "ThumbnailImageUrl",
    }
)  # fmt: skip


def read(fields: Fields) -> tuple[Record, ...]:
    """One record about the weight beside the document."""
    hashes = hash_claims(fields, "Hashes")
    name = fields.text("RemoteFileName")
    metadata = fields.child("FileMetadata")
    extra = fields.others(_KNOWN)
    thumbnail = fields.text("ThumbnailImageUrl")
    if thumbnail:
        extra["thumbnail_url"] = thumbnail
    model = ModelFacts(
        civitai_id=fields.identifier("ModelId"),
        name=fields.text("ModelName"),
        type=fields.text("ModelType"),
        description=fields.text("ModelDescription"),
        author=fields.text("AuthorUsername"),
        tags=fields.texts("Tags"),
        nsfw=fields.flag("Nsfw"),
    )
    file = FileClaim(
        name=name,
        hashes=hashes,
        primary=True,
        type="Model",
        format=metadata.text("format") if metadata is not None else None,
    )
    version = VersionFacts(
        civitai_id=fields.identifier("VersionId"),
        name=fields.text("VersionName"),
        description=fields.text("VersionDescription"),
        base_model=fields.text("BaseModel"),
        trained_words=fields.texts("TrainedWords"),
        files=(file,) if name or hashes else (),
        stats=statistics(fields, "Stats"),
    )
    user = UserFacts(title=fields.text("UserTitle"))
    return (Record(shape=Shape.STABILITY_MATRIX, model=model, version=version, user=user, extra=extra),)
