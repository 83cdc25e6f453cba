"""InvokeAI's configuration of a model: a row of its `models` table as JSON."""

from typing import Final

from warehouse.civitai.fields import Fields
from warehouse.civitai.names import civitai_download, civitai_link
from warehouse.civitai.records import FileClaim, ModelFacts, Record, UserFacts, VersionFacts
from warehouse.civitai.values import clean_hash
from warehouse.civitai.verdicts import Shape

BASES: Final = {
    "sd-1": "SD 1.5",
    "sd-2": "SD 2.1",
    "sd-3": "SD 3.5",
    "sdxl": "SDXL 1.0",
    "flux": "Flux.1 D",
    "cogview4": "CogView4",
    "qwen-image": "Qwen",
    "z-image": "ZImageTurbo",
}
_KNOWN: Final = frozenset(
    {"key", "hash", "path", "file_size", "name", "description", "source", "trigger_phrases", "default_settings",
     "base", "type", "format"}
)  # fmt: skip


def read(fields: Fields) -> tuple[Record, ...]:
    """One record; its ids come from `source`, which is a page on Civitai or a download; the hash is BLAKE3."""
    source = fields.text("source_url") or fields.text("source")
    model_id, version_id = (civitai_link(source) if source else None) or (None, None)
    is_address = source is not None and source.startswith(("https://", "http://"))
    if source is not None and version_id is None:
        version_id = civitai_download(source)
    settings = fields.child("default_settings")
    base = fields.text("base")
    extra = fields.others(_KNOWN)
    if source:
        extra["source"] = source
    stated_hash = (fields.text("hash") or "").removeprefix("blake3:")
    blake3 = clean_hash("blake3", stated_hash) if stated_hash else None
    size = fields.number("file_size")
    files = (
        FileClaim(
            hashes={"blake3": blake3} if blake3 else {},
            size_kb=size / 1024 if size else None,
        ),
    )
    return (
        Record(
            shape=Shape.INVOKEAI,
            model=ModelFacts(
                civitai_id=model_id,
                name=fields.text("name"),
                type=fields.text("type"),
                description=fields.text("description"),
            ),
            version=VersionFacts(
                civitai_id=version_id,
                base_model=BASES.get(base.casefold()) if base else None,
                trained_words=fields.texts("trigger_phrases"),
                files=files if blake3 else (),
                download_url=source if is_address and model_id is None else None,
            ),
            user=UserFacts(preferred_weight=(settings.number("weight") or None) if settings is not None else None),
            extra=extra,
        ),
    )
