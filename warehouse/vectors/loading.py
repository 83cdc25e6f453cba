"""Loading the facts that texts derive from, and saying how much of an adapter is known.

Belongs here: rows to `AdapterFacts`. Does not: which adapters are due (`work`) and words (`texts`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from warehouse.models import Adapter, AdapterDetail
from warehouse.vectors.facts import AdapterFacts

_COLUMNS = (
    Adapter.pk,
    Adapter.name,
    Adapter.version,
    Adapter.tags,
    Adapter.user_tags,
    Adapter.trained_words,
    Adapter.triggers,
    Adapter.activation_text,
    Adapter.author_username,
    Adapter.archetype,
    Adapter.base_model,
    Adapter.sd_version,
    Adapter.extra,
    Adapter.preview_path,
    Adapter.content_digest,
    AdapterDetail.description_text,
    AdapterDetail.examples,
)


@dataclass(frozen=True, slots=True)
class Known:
    """An adapter that is due: its facts, the watermark they carry, and its preview image if there is one."""

    pk: int
    facts: AdapterFacts
    content_digest: str
    preview_path: str | None


def load_known(connection: Connection, pks: Sequence[int]) -> list[Known]:
    """The adapters of these numbers that exist, by number."""
    statement = (
        select(*_COLUMNS)
        .outerjoin(AdapterDetail, AdapterDetail.adapter_pk == Adapter.pk)
        .where(Adapter.pk.in_(pks))
        .order_by(Adapter.pk)
    )
    return [
        Known(row["pk"], facts_of(dict(row)), row["content_digest"], row["preview_path"])
        for row in connection.execute(statement).mappings()
    ]


def facts_of(row: Mapping[str, Any]) -> AdapterFacts:
    """The facts in a row of `adapters` joined with `adapter_details`, or in the fields of a draft of one."""
    extra = row["extra"] or {}
    examples = row["examples"] or []
    return AdapterFacts(
        name=row["name"],
        version=row["version"],
        description=row["description_text"],
        tags=tuple(dict.fromkeys([*(row["tags"] or ()), *(row["user_tags"] or ())])),
        trained_words=tuple(row["trained_words"] or ()),
        triggers=tuple(row["triggers"] or ()),
        activation_text=row["activation_text"],
        prompts=tuple(item["prompt"] for item in examples if isinstance(item.get("prompt"), str)),
        author=row["author_username"],
        archetype=row["archetype"],
        base_model=row["base_model"],
        sd_version=row["sd_version"],
        network_type=_typed(extra.get("network_type"), str),
        rank=_typed(extra.get("rank"), int),
        alpha=_typed(extra.get("alpha"), int, float),
        resolution=_typed(extra.get("resolution"), str),
        training=_typed(extra.get("training"), dict) or {},
        training_tags={
            tag: count for tag, count in (_typed(extra.get("training_tags"), dict) or {}).items() if type(count) is int
        },
    )


def _typed(value: Any, *types: type) -> Any:
    """The value if it is what it should be: unknown keys of documents share `extra` with ours."""
    return value if type(value) in types else None


def quality_score(facts: AdapterFacts) -> float:
    """How much is known of an adapter, 0..1: the share of what recommending lives on that is there.

    Description 0.25, tags 0.2, trigger words 0.2, example prompts 0.2, base model 0.1, rank or network type 0.05.
    It says nothing of how good the adapter is.
    """
    present = (
        (0.25, bool(facts.description)),
        (0.2, bool(facts.tags)),
        (0.2, bool(facts.trained_words or facts.triggers or facts.activation_text)),
        (0.2, bool(facts.prompts)),
        (0.1, facts.base_model is not None),
        (0.05, facts.rank is not None or facts.network_type is not None),
    )
    return round(sum(weight for weight, known in present if known), 4)
