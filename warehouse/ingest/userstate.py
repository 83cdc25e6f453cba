"""What a user made of an adapter, which no sync changes: kept, carried over, and laid over what documents say.

Belongs here: the columns of user state and how two rows become one. Does not: the API that writes them.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from sqlalchemy import Connection, select, update

from warehouse import facets
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


def is_touched(row: Any) -> bool:
    """Whether the words and tags of a row are not those of its documents alone."""
    return bool(row.user_fields or row.user_tags or row.user_notes)


def carry_over(connection: Connection, survivor_pk: int, others: Iterable[int]) -> None:
    """Give a row the user state of rows that become part of it, where it has none of its own.

    The counters follow; words and tags do when the row is next written, which whoever merges rows sees to.
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
                survivor[name] = values[name] = other[name]
                survivor["user_fields"] = values["user_fields"] = [*survivor["user_fields"], name]
    if values:
        connection.execute(update(Adapter).where(Adapter.pk == survivor_pk).values(**values))
        difference = Counter(facets.keys_of(survivor, ()))
        difference.subtract(facets.keys_of(before, ()))
        facets.apply(connection, difference)
