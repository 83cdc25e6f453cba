"""User metadata of A1111, Forge and sd-civitai-browser-plus (`name.json`): what a person keeps about one weight."""

from typing import Final

from warehouse.civitai.fields import Fields
from warehouse.civitai.readers.claims import hash_claim
from warehouse.civitai.records import FileClaim, ModelFacts, Record, UserFacts, VersionFacts
from warehouse.civitai.verdicts import Shape

MARKS: Final = frozenset({"activation text", "preferred weight", "sd version"})
"""Any of these keys makes a document an A1111 one."""
KEYS: Final = MARKS | {"negative text", "notes"}
"""Keys that may also stand inside a model or version document and mean the same there."""
_KNOWN: Final = KEYS | {"description", "modelId", "modelVersionId", "sha256"}


def user_facts(fields: Fields, description: str | None = None) -> UserFacts:
    """The user's own values; a preferred weight of 0 means that none was set."""
    if description is None and fields.data.keys().isdisjoint(KEYS):
        return UserFacts()
    return UserFacts(
        description=description,
        activation_text=fields.text("activation text"),
        negative_text=fields.text("negative text"),
        notes=fields.text("notes"),
        preferred_weight=fields.number("preferred weight") or None,
        sd_version=fields.text("sd version"),
    )


def read(fields: Fields) -> tuple[Record, ...]:
    """One record; with Civitai's numbers and a hash where sd-civitai-browser-plus added them."""
    extra = fields.others(_KNOWN)
    model_id = None
    if isinstance(fields.data.get("modelId"), str) and not str(fields.data["modelId"]).strip().isdecimal():
        # "Model not found": the tool asked, and Civitai does not know the file.
        extra["civitai_lookup"] = fields.data["modelId"]
    else:
        model_id = fields.identifier("modelId")
    version_id = fields.identifier("modelVersionId")
    sha256 = hash_claim(fields, "sha256", "sha256")
    files = (FileClaim(hashes={"sha256": sha256}),) if sha256 else ()
    version = VersionFacts(civitai_id=version_id, files=files) if version_id or files else None
    return (
        Record(
            shape=Shape.A1111,
            model=ModelFacts(civitai_id=model_id),
            version=version,
            user=user_facts(fields, fields.text("description")),
            extra=extra,
        ),
    )
