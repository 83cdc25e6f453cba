"""SwarmUI's `name.swarm.json`: flat `modelspec.*` keys, with Civitai's numbers in a link of the description.

The hash stated here is of the bytes after the header: it is compared with the payload's hash, never with the file's.
"""

import re
from typing import Final

from warehouse.civitai.fields import Fields, parse_time
from warehouse.civitai.names import civitai_link, split_title
from warehouse.civitai.readers.claims import hash_claim
from warehouse.civitai.records import Licence, ModelFacts, Record, UserFacts, VersionFacts
from warehouse.civitai.verdicts import Shape
from warehouse.safetensors import describe_metadata

PREFIX: Final = "modelspec."
_HINTED_BASES: Final = {"pony": "Pony", "illustrious": "Illustrious", "noobai": "NoobAI"}
_FROM_LINE: Final = re.compile(r"\A\s*From\s*<a\b[^>]*>.*?</a>\s*(<br\s*/?>)?\s*", re.IGNORECASE | re.DOTALL)
_COMMA: Final = re.compile(r"\s*,\s*")
_SEMICOLON: Final = re.compile(r"\s*;\s*")
_KNOWN: Final = frozenset(
    PREFIX + key
    for key in (
        "title", "author", "description", "preview_image", "thumbnail", "license", "date", "usage_hint",
        "trigger_phrase", "tags", "lora_default_weight", "hash_sha256",
    )
)  # fmt: skip


def architecture(fields: Fields) -> str | None:
    """The stated architecture (`stable-diffusion-xl-v1-base/lora`), in lower case."""
    value = fields.data.get(f"{PREFIX}architecture")
    return value.strip().casefold() if isinstance(value, str) and value.strip() else None


def read(fields: Fields) -> tuple[Record, ...]:
    """One record about the weight beside the document; its downloader writes `Model - Version` as the title."""
    text = _Spec(fields)
    description = text("description")
    link = civitai_link(description) if description else None
    model_id, version_id = link or (None, None)
    title = text("title")
    name, version_name = split_title(title) if title and link else (title, None)
    if description and link:
        description = _FROM_LINE.sub("", description, count=1)
    hint = text("usage_hint")
    hinted_base = _HINTED_BASES.get(hint.strip().casefold()) if hint else None
    date = text("date")
    weight = fields.number(f"{PREFIX}lora_default_weight")
    payload = f"{PREFIX}hash_sha256"
    record = Record(
        shape=Shape.SWARM,
        model=ModelFacts(
            civitai_id=model_id,
            name=name,
            description=description,
            author=text("author"),
            tags=text.listed("tags", _COMMA),
            licence=Licence(text=text("license")),
        ),
        version=VersionFacts(
            civitai_id=version_id,
            name=version_name,
            base_model=hinted_base or _base_model(fields),
            trained_words=text.listed("trigger_phrase", _SEMICOLON),
            published_at=parse_time(date) if date else None,
        ),
        user=UserFacts(notes=None if hinted_base else hint, preferred_weight=weight or None),
        payload_sha256=hash_claim(fields, payload, "sha256") if payload in fields.data else None,
        extra=fields.others(_KNOWN),
    )
    return (record,)


def _base_model(fields: Fields) -> str | None:
    stated = architecture(fields)
    return describe_metadata({f"{PREFIX}architecture": stated}).base_model if stated is not None else None


class _Spec:
    """Texts by their `modelspec.` key."""

    def __init__(self, fields: Fields) -> None:
        self.fields = fields

    def __call__(self, key: str) -> str | None:
        return self.fields.text(PREFIX + key)

    def listed(self, key: str, separator: re.Pattern[str]) -> tuple[str, ...]:
        """A text of several values, or a list of them."""
        if isinstance(self.fields.data.get(PREFIX + key), list):
            return self.fields.texts(PREFIX + key)
        text = self(key)
        return tuple(part for part in separator.split(text) if part.strip()) if text else ()
