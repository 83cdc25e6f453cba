"""One change to many adapters: one transaction, a result for each id, statements by sets.

Belongs here: what each action means for a row. Does not: writing (`writing`) and deleting (`editing`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Connection

from warehouse import audit
from warehouse.audit import Actor
from warehouse.catalog import writing
from warehouse.catalog.editing import DELETED, delete_rows, same
from warehouse.catalog.effects import FEEDING
from warehouse.catalog.fields import USER_STATE
from warehouse.catalog.writing import Edit, Told
from warehouse.engine import Database
from warehouse.facets import COLUMN_FACETS
from warehouse.fulltext import fold
from warehouse.models import Adapter, utc_now

MAX_USER_TAGS: Final = 100
"""Of one adapter."""


class Action(StrEnum):
    """What can be done to many adapters."""

    ACTIVATE = "activate"
    DEACTIVATE = "deactivate"
    FAVORITE = "favorite"
    UNFAVORITE = "unfavorite"
    TAG = "tag"
    UNTAG = "untag"
    DELETE = "delete"


class Result(StrEnum):
    """What became of one id."""

    CHANGED = "changed"
    UNCHANGED = "unchanged"
    NOT_FOUND = "not_found"
    REFUSED = "refused"
    """It would have more than MAX_USER_TAGS tags."""


@dataclass(frozen=True, slots=True)
class Order:
    """An action with what it needs: `tags` to add or remove, an `ordinal` that all activated ones get."""

    action: Action
    tags: Sequence[str] = ()
    ordinal: int | None = None


class _Refused(Exception):  # noqa: N818 - caught below, never seen
    """The action cannot be done to a row."""


_Rule = Callable[[Mapping[str, Any], Order], dict[str, Any]]


def _activate(row: Mapping[str, Any], order: Order) -> dict[str, Any]:
    return {"active": True, "ordinal": row["ordinal"] if order.ordinal is None else order.ordinal}


def _tag(row: Mapping[str, Any], order: Order) -> dict[str, Any]:
    known = {fold(tag) for tag in row["user_tags"]}
    tags = [*row["user_tags"], *(tag for tag in order.tags if fold(tag) not in known)]
    if len(tags) > MAX_USER_TAGS:
        raise _Refused
    return {"user_tags": tags}


def _untag(row: Mapping[str, Any], order: Order) -> dict[str, Any]:
    unwanted = {fold(tag) for tag in order.tags}
    return {"user_tags": [tag for tag in row["user_tags"] if fold(tag) not in unwanted]}


_RULES: Final[Mapping[Action, _Rule]] = {
    Action.ACTIVATE: _activate,
    Action.DEACTIVATE: lambda _row, _order: {"active": False},
    Action.FAVORITE: lambda _row, _order: {"favorite": True},
    Action.UNFAVORITE: lambda _row, _order: {"favorite": False},
    Action.TAG: _tag,
    Action.UNTAG: _untag,
}
_TOLD: Final[Mapping[Action, tuple[str, str]]] = {
    Action.ACTIVATE: ("activation", "activated"),
    Action.DEACTIVATE: ("activation", "deactivated"),
    Action.FAVORITE: ("edit", "marked as favorite"),
    Action.UNFAVORITE: ("edit", "unmarked as favorite"),
    Action.TAG: ("edit", "tagged"),
    Action.UNTAG: ("edit", "untagged"),
}
"""Kind and verb of the feed."""
_LIGHT: Final = frozenset({"pk", "id", "name", *USER_STATE, *COLUMN_FACETS})
_WORDY: Final = _LIGHT | FEEDING - {"description"}
"""What words are computed from; of the description the plain text is read where it is needed."""


def change_many(database: Database, ids: Sequence[str], order: Order, actor: Actor) -> dict[str, Result]:
    """Do an action to the adapters of canonical ids; the result by id."""

    def work(connection: Connection) -> dict[str, Result]:
        results = dict.fromkeys(ids, Result.NOT_FOUND)
        if order.action is Action.DELETE:
            rows = writing.locked(connection, ids, DELETED)
            if rows:
                delete_rows(connection, rows, actor)
            return results | {row["id"]: Result.CHANGED for row in rows}
        edits = []
        for row in writing.locked(connection, ids, _columns(order.action)):
            edit, results[row["id"]] = _decide(row, order)
            if edit.values:
                edits.append(edit)
        if edits:
            _write(connection, edits, order, actor)
        return results

    return database.transact(work)


def _columns(action: Action) -> list[Any]:
    names = _WORDY if action in (Action.TAG, Action.UNTAG) else _LIGHT
    return [Adapter.__table__.c[name] for name in sorted(names)]


def _decide(row: dict[str, Any], order: Order) -> tuple[Edit, Result]:
    try:
        wanted = _RULES[order.action](row, order)
    except _Refused:
        return Edit(row, {}), Result.REFUSED
    values = {name: value for name, value in wanted.items() if not same(value, row[name])}
    return Edit(row, values), Result.CHANGED if values else Result.UNCHANGED


def _write(connection: Connection, edits: Sequence[Edit], order: Order, actor: Actor) -> None:
    at = utc_now()
    writing.write(connection, edits, at)
    audit.record(connection, actor, at, [writing.change_of(edit, order.action) for edit in edits])
    kind, verb = _TOLD[order.action]
    data = {"action": order.action.value, **({"tags": list(order.tags)} if order.tags else {})}
    names = {edit.before["id"]: edit.before["name"] for edit in edits}
    writing.tell(connection, actor, at, Told(kind, verb, names, data))
