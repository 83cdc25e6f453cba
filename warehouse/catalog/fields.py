"""The fields of an adapter that a client may change: which there are, what follows from them, what they are by default.

Belongs here: pure rules on values. Does not: SQL, and the form of single values (the schemas of the API).
"""

from collections.abc import Mapping
from typing import Any, Final

from warehouse.civitai import names, sanitise_html, values
from warehouse.civitai.archetype import Evidence, classify
from warehouse.civitai.markup import html_to_text

DERIVED: Final[Mapping[str, Any]] = {
    "name": None,
    "version": None,
    "canonical_version_name": None,
    "description": None,
    "author_username": None,
    "visibility": "Public",
    "published_at": None,
    "tags": [],
    "trained_words": [],
    "triggers": [],
    "activation_text": None,
    "negative_text": None,
    "archetype": None,
    "archetype_confidence": None,
    "base_model": None,
    "sd_version": None,
    "nsfw_level": 0,
    "supports_generation": False,
    "downloads": None,
    "likes": None,
    "rating": None,
    "stats": {},
    "licence": None,
    "extra": {},
    "file_path": None,
    "primary_file_name": None,
    "primary_file_size_kb": None,
    "primary_file_sha256": None,
    "primary_file_download_url": None,
    "primary_file_local_path": None,
}
"""Fields that documents and files decide until a user edits them, with what they are where nobody states them."""
USER_STATE: Final[Mapping[str, Any]] = {
    "active": False,
    "ordinal": None,
    "weight": 1.0,
    "favorite": False,
    "user_tags": [],
    "user_notes": None,
}
"""Fields that are the user's own, with their defaults."""
RESETTABLE: Final = frozenset(DERIVED) | {"weight"}
"""What can be given back to the documents."""


def following(changed: Mapping[str, Any]) -> dict[str, Any]:
    """The columns that follow from changed ones (`userstate.FOLLOWING`), but for what a look at the file tells."""
    found: dict[str, Any] = {}
    if "version" in changed:
        found["canonical_version_name"] = names.canonical_version(changed["version"])
    if "trained_words" in changed:
        found["triggers"] = list(names.triggers(tuple(changed["trained_words"])))
    if "base_model" in changed:
        found["sd_version"] = values.sd_version(None, changed["base_model"])
    if "archetype" in changed:
        # Whoever says it by hand is sure.
        found["archetype_confidence"] = None if changed["archetype"] is None else 1.0
    if "stats" in changed:
        found["downloads"], found["likes"], found["rating"] = values.community(changed["stats"])
    if "file_path" in changed:
        found["primary_file_local_path"] = changed["file_path"]
    return found


def cleaned(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Fields as they are stored: HTML sanitised, repetitions of tags dropped."""
    result = dict(fields)
    if result.get("description") is not None:
        result["description"] = sanitise_html(result["description"])
    for name in ("tags", "user_tags"):
        if name in result:
            result[name] = list(dict.fromkeys(result[name]))
    return result


def completed(stated: Mapping[str, Any]) -> dict[str, Any]:
    """Every field of a new adapter: what is stated, what follows from it, else the defaults."""
    complete = {**DERIVED, **USER_STATE, **following(stated), **stated}
    if "activation_text" not in stated:
        complete["activation_text"] = names.first_group(complete["trained_words"])
    if "archetype" not in stated:
        complete["archetype"], complete["archetype_confidence"] = classify(
            Evidence(
                name=complete["name"],
                version=complete["version"],
                tags=tuple(complete["tags"]),
                trained_words=tuple(complete["trained_words"]),
                description=html_to_text(complete["description"]) if complete["description"] else None,
            )
        )
    return complete
