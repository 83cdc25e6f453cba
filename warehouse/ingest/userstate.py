"""What a user made of an adapter, which no sync changes: kept, carried over, and laid over what documents say.

Belongs here: the columns of user state and how two rows become one. Does not: the API that writes them.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from sqlalchemy import Connection, select, update

from warehouse import facets
from warehouse.facets import FacetKey
from warehouse.models import Adapter

DEFAULTS: Final[Mapping[str, Any]] = {
    "active": False,
    "ordinal": None,
    "favorite": False,
    "user_tags": [],
    "user_notes": None,
}
"""Columns of user state with the value that says nothing; `weight` has its own flag, edited columns their own list."""
COLUMNS: Final = (*DEFAULTS, "weight", "weight_by_user", "user_fields")
FOLLOWING: Final[Mapping[str, tuple[str, ...]]] = {
    "version": ("canonical_version_name",),
    "trained_words": ("triggers",),
    "base_model": ("sd_version",),
    "archetype": ("archetype_confidence",),
    "stats": ("downloads", "likes", "rating"),
    "file_path": ("file_state", "primary_file_local_path"),
}
"""Columns that are computed from another one: with it they become the user's."""


def is_touched(row: Any) -> bool:
    """Whether the words and tags of a row are not those of its documents alone."""
    return bool(row.user_fields or row.user_tags or row.user_notes)


def kept(user_fields: Iterable[str]) -> set[str]:
    """The columns that a sync leaves: those that a user edited and those that follow from them."""
    edited = set(user_fields)
    return edited.union(*(FOLLOWING.get(name, ()) for name in edited))


def carry_over(connection: Connection, survivor_pk: int, others: Iterable[int]) -> Counter[FacetKey]:
    """Give a row the user state of rows that become part of it, where it has none of its own.

    Words and tags follow when the row is next written, which whoever merges rows sees to. Returns how the counters
    change: the caller applies it with its own at the end, for two writers that lock counters early can deadlock.
    """
    pks = [survivor_pk, *others]
    rows = {row.pk: row for row in connection.execute(select(Adapter.__table__).where(Adapter.pk.in_(pks)))}
    before = dict(rows[survivor_pk]._mapping)
    survivor = dict(before)
    values: dict[str, Any] = {}
    for pk in pks[1:]:
        other = rows[pk]._mapping
        for name, default in DEFAULTS.items():
            if survivor[name] == default and other[name] != default:
                survivor[name] = values[name] = other[name]
        if other["weight_by_user"] and not survivor["weight_by_user"]:
            for name in ("weight", "weight_by_user"):
                survivor[name] = values[name] = other[name]
        # Names are unique and the survivor's is settled; everything else that was edited by hand is kept.
        edited = [name for name in other["user_fields"] if name not in survivor["user_fields"]]
        for name in edited:
            if name not in ("name", "version"):
                for column in kept([name]).difference(kept(survivor["user_fields"])):
                    survivor[column] = values[column] = other[column]
                survivor["user_fields"] = values["user_fields"] = [*survivor["user_fields"], name]
    difference: Counter[FacetKey] = Counter()
    if values:
        connection.execute(update(Adapter).where(Adapter.pk == survivor_pk).values(**values))
        difference.update(facets.keys_of(survivor, ()))
        difference.subtract(facets.keys_of(before, ()))
    return difference
