"""A dumped `__metadata__` of a safetensors file, as A1111 and SD.Next keep it: kohya's, ai-toolkit's, modelspec's keys.

The same keys mean the same inside the file itself, so the header's own reader reads them.
"""

from typing import Final

from warehouse.civitai.fields import Fields
from warehouse.civitai.records import JsonObject, Licence, ModelFacts, Record, UserFacts, VersionFacts
from warehouse.civitai.verdicts import Shape
from warehouse.safetensors import HeaderFacts, describe_metadata

MAX_TRAINING_TAGS: Final = 50
_CLAIMED_HASHES: Final = ("claimed_modelspec_sha256", "claimed_payload_sha256")
_SHA256_LENGTH: Final = 64


def read(fields: Fields) -> tuple[Record, ...]:
    """One record about the weight that the metadata was taken from."""
    facts = describe_metadata(fields.data)
    record = Record(
        shape=Shape.HEADER_DUMP,
        model=ModelFacts(
            name=facts.title,
            description=facts.description,
            author=facts.author,
            tags=tuple(facts.modelspec_tags),
            licence=Licence(text=facts.license),
        ),
        version=VersionFacts(base_model=facts.base_model, trained_words=phrases(facts.trigger_phrase)),
        user=UserFacts(notes=facts.usage_hint),
        payload_sha256=_payload_hash(facts),
        extra=training_facts(facts),
    )
    return (record,)


def phrases(trigger_phrase: str | None) -> tuple[str, ...]:
    """The trigger groups of a `modelspec.trigger_phrase`, which are joined by semicolons."""
    return tuple(part.strip() for part in trigger_phrase.split(";") if part.strip()) if trigger_phrase else ()


def training_facts(facts: HeaderFacts) -> JsonObject:
    """What a header tells beyond the columns of an adapter, without what it does not know."""
    tags = sorted(facts.training_tags.items(), key=lambda item: (-item[1], item[0]))
    stated = {
        "network_type": facts.network_type,
        "rank": facts.rank,
        "alpha": facts.alpha,
        "resolution": facts.resolution,
        "training": facts.training,
        "training_tags": dict(tags[:MAX_TRAINING_TAGS]),
    }
    return {key: value for key, value in stated.items() if value not in (None, {})}


def _payload_hash(facts: HeaderFacts) -> str | None:
    for key in _CLAIMED_HASHES:
        value = facts.training.get(key)
        if isinstance(value, str) and len(value) == _SHA256_LENGTH:
            return value
    return None
