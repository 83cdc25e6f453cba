"""What follows from an adapter's values, whoever set them: its words, its folded tags, the digest vectors watch.

The sync (for rows that a user touched) and the edits of a client both take it from here, so that they never disagree.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from warehouse.civitai.content import FACTS, Content, content_digest
from warehouse.fulltext import search_row
from warehouse.ingest.deriving import fold_tags

FEEDING: Final = frozenset(
    {
        "name",
        "version",
        "description",
        "author_username",
        "tags",
        "user_tags",
        "user_notes",
        "trained_words",
        "triggers",
        "activation_text",
        "archetype",
        "base_model",
        "sd_version",
        "extra",
    }
)
"""Columns that the effects are computed from: a change of any other has none."""


@dataclass(frozen=True, slots=True)
class Effects:
    """`search` are the columns of `adapter_search` without the key, `tags` those of `adapter_tags`."""

    tags: list[str]
    search: dict[str, str]
    content_digest: str


def effects_of(
    values: Mapping[str, Any],
    *,
    description_text: str | None,
    notes: str | None,
    examples: Sequence[Mapping[str, Any]],
) -> Effects:
    """The effects of a row of `adapters` (lists and objects decoded) with its details.

    `description_text` is the plain text of the description in force, `notes` those found in sidecars.
    """
    tags = [*values["tags"], *values["user_tags"]]
    search = search_row(
        name=values["name"],
        version=values["version"],
        author=values["author_username"],
        tags=tags,
        words=values["trained_words"],
        description=description_text,
        notes="\n".join(part for part in (notes, values["user_notes"]) if part) or None,
    )
    content = Content(
        name=values["name"],
        version=values["version"],
        description_text=description_text,
        author_username=values["author_username"],
        tags=values["tags"],
        trained_words=values["trained_words"],
        triggers=values["triggers"],
        activation_text=values["activation_text"],
        archetype=values["archetype"],
        base_model=values["base_model"],
        sd_version=values["sd_version"],
        prompts=[example.get("prompt") for example in examples],
        facts=[values["extra"].get(key) for key in FACTS],
        user_tags=values["user_tags"],
    )
    return Effects(fold_tags(tags), search, content_digest(content))
