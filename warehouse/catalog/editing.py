"""Editing and deleting one adapter.

What a client edits becomes the user's: a sync leaves it, until it is reset, which gives it back to the documents. A
value that is the same already is no edit, so that a form that is sent back whole takes nothing from the documents.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection, func, select
from sqlalchemy.exc import IntegrityError

from warehouse import audit
from warehouse.audit import Actor, Change
from warehouse.catalog import writing
from warehouse.catalog.errors import FieldError, NameTakenError, NoSuchAdapterError
from warehouse.catalog.fields import DERIVED, USER_STATE, cleaned, following
from warehouse.catalog.files import WeightFile, look_at, roots_of
from warehouse.catalog.writing import Edit, Told
from warehouse.engine import Database, violated_constraint
from warehouse.ingest import bulk, naming, tombstones
from warehouse.ingest.adapters import derive_one
from warehouse.ingest.deriving import DerivedAdapter
from warehouse.ingest.userstate import FOLLOWING
from warehouse.models import Adapter, utc_now
from warehouse.models.adapters import NAME_INDEX
from warehouse.queries.adapters import AdapterRow, get
from warehouse.settings import Settings

_ACTIVATION = frozenset({"active", "ordinal"})
_JSON_COLUMNS = frozenset({"tags", "trained_words", "triggers", "stats", "licence", "extra"})
"""Columns that a draft has as text."""
_VERBS = {True: "activated", False: "deactivated"}


def update(
    database: Database,
    settings: Settings,
    adapter_id: str,
    fields: Mapping[str, Any],
    actor: Actor,
    *,
    reset: Collection[str] = (),
    action: str = "update",
) -> AdapterRow:
    """Set validated fields of an adapter, and give the fields in `reset` back to its documents.

    Raises:
        NoSuchAdapterError: there is none of this id.
        FieldError: the file cannot be taken, or a field cannot be reset because nobody else states it.
        NameTakenError: another adapter has this name and version.
    """
    stated, file = cleaned(fields), None
    if "file_path" in stated:
        file = _new_file(database, settings, adapter_id, stated["file_path"])
        stated["file_path"] = file.path if file is not None else stated["file_path"]
    wanted = (str(stated.get("name", "")), stated.get("version"))

    def work(connection: Connection) -> AdapterRow:
        nonlocal wanted
        rows = writing.locked(connection, [adapter_id], Adapter.__table__.c)
        if not rows:
            raise NoSuchAdapterError(adapter_id)
        edit = _edit(connection, settings, rows[0], stated, file, reset)
        if edit.values:
            wanted = (edit.after["name"], edit.after["version"])
            _require_free_name(connection, edit)
            at = utc_now()
            writing.write(connection, [edit], at)
            audit.record(connection, actor, at, [writing.change_of(edit, action)])
            writing.tell(connection, actor, at, _told(edit))
        row = get(connection, adapter_id)
        assert row is not None
        return row

    try:
        return database.transact(work)
    except IntegrityError as error:
        # Two transactions may take a name at once: PostgreSQL tells the second one when the first has committed.
        if violated_constraint(error) == NAME_INDEX:
            raise NameTakenError(*wanted) from error
        raise


def _new_file(database: Database, settings: Settings, adapter_id: str, path: str) -> WeightFile | None:
    """A look at the file that an adapter shall have; None where it is the one that it has."""
    with database.read() as connection:
        current = connection.execute(select(Adapter.file_path).where(Adapter.id == adapter_id)).scalar()
        if current is None:
            raise NoSuchAdapterError(adapter_id)
        if current == path:
            return None
        roots = roots_of(connection, settings)
    return look_at(path, roots)


def _edit(
    connection: Connection,
    settings: Settings,
    row: Mapping[str, Any],
    stated: Mapping[str, Any],
    file: WeightFile | None,
    reset: Collection[str],
) -> Edit:
    """What changes of a row."""
    values = {name: value for name, value in stated.items() if not same(value, row[name])}
    # Where a sync has not met the file yet, the path is how it will.
    own = [name for name in values if name in DERIVED and (name != "file_path" or row["bundle_pk"] is not None)]
    edited = list(dict.fromkeys([*row["user_fields"], *own]))
    if "weight" in values:
        values["weight_by_user"] = True
    fixed = {*stated, *edited}
    text = None
    if reset:
        restored = _restored(connection, settings, row, {**row, **values}, reset)
        edited = [name for name in edited if name not in reset]
        fixed = {*stated, *edited}
        text = restored.description_text
        values |= {name: value for name, value in restored.values.items() if not same(value, row[name])}
        fixed |= restored.values.keys()
    follow = following({name: values[name] for name in FOLLOWING if name in values})
    if "file_path" in values and file is not None:
        follow["file_state"] = file.state
    values |= {name: value for name, value in follow.items() if name not in fixed and not same(value, row[name])}
    if edited != row["user_fields"]:
        values["user_fields"] = edited
    return Edit(row, values, text)


@dataclass(frozen=True, slots=True)
class _Restored:
    values: dict[str, Any]
    description_text: str | None = None


def _restored(
    connection: Connection,
    settings: Settings,
    row: Mapping[str, Any],
    after: Mapping[str, Any],
    reset: Collection[str],
) -> _Restored:
    """The values of fields that are given back: what the documents and the file state now.

    Where nothing of them is on disk, the fields keep their values until it is back.
    """
    due = [name for name in reset if name in row["user_fields"]]
    back_to_weight = "weight" in reset and row["weight_by_user"]
    if not due and not back_to_weight:
        return _Restored({})
    draft = _draft(connection, settings, row)
    values: dict[str, Any] = {"weight_by_user": False} if back_to_weight else {}
    # The next sync that looks at the bundle writes the row anew.
    values["derived_digest"] = None
    if draft is None and row["bundle_pk"] is not None:
        return _Restored(values)
    if draft is None:
        for name in due:
            if name in ("name", "file_path"):
                raise FieldError(name, "cannot be reset: no document of this adapter is known")
        if back_to_weight:
            values["weight"] = USER_STATE["weight"]
        stated = {name: DERIVED[name] for name in due}
        return _Restored(values | _with_followers(stated, row, due, following(stated)))
    columns = {
        name: msgspec.json.decode(value) if isinstance(value, str) and name in _JSON_COLUMNS else value
        for name, value in msgspec.structs.asdict(draft.columns).items()
    }
    values |= _with_followers({name: columns[name] for name in due}, row, due, columns)
    if back_to_weight:
        values["weight"] = 1.0 if draft.weight is None else draft.weight
    if "version" in due:
        name = values.get("name", after["name"])
        values["version"] = next(
            version for version in naming.candidates(draft) if _holder(connection, name, version, row["pk"]) is None
        )
    return _Restored(values, draft.description_text if "description" in due else None)


def _with_followers(
    stated: Mapping[str, Any], row: Mapping[str, Any], due: Collection[str], known: Mapping[str, Any]
) -> dict[str, Any]:
    """Values that are given back with those of the columns that follow from them and are not the user's own."""
    own = set(row["user_fields"]).difference(due)
    followers = [column for name in due for column in FOLLOWING.get(name, ()) if column not in own]
    return {**{column: known[column] for column in followers if column in known}, **stated}


def _draft(connection: Connection, settings: Settings, row: Mapping[str, Any]) -> DerivedAdapter | None:
    """What the documents of a row give for it now."""
    derived = derive_one(connection, settings, row["bundle_pk"]) if row["bundle_pk"] is not None else None
    if derived is None:
        return None
    return next((draft for draft in derived.adapters if draft.source_key == row["source_key"]), None)


def _require_free_name(connection: Connection, edit: Edit) -> None:
    if "name" in edit.values or "version" in edit.values:
        name, version = edit.after["name"], edit.after["version"]
        if _holder(connection, name, version, edit.before["pk"]) is not None:
            raise NameTakenError(name, version)


def _holder(connection: Connection, name: str, version: str | None, but: int) -> int | None:
    """The other adapter that has a name and version."""
    return connection.execute(
        select(Adapter.pk).where(
            Adapter.name == name, func.coalesce(Adapter.version, "") == (version or ""), Adapter.pk != but
        )
    ).scalar()


def same(value: Any, other: Any) -> bool:
    """Whether two values are the same in JSON: true is not 1, and 1 is 1.0."""
    if isinstance(value, bool) or isinstance(other, bool):
        return value is other
    if isinstance(value, dict) and isinstance(other, dict):
        return value.keys() == other.keys() and all(same(value[key], other[key]) for key in value)
    if isinstance(value, list) and isinstance(other, list):
        return len(value) == len(other) and all(map(same, value, other))
    if isinstance(value, float) and isinstance(other, int | float):
        # A database may give back an integer for 1e18, of which the shortest decimal was stored.
        return value == float(other)
    return bool(value == other)


def _told(edit: Edit) -> Told:
    names = {edit.before["id"]: edit.after["name"]}
    changed = [name for name in edit.values if name in DERIVED or name in USER_STATE]
    if changed and _ACTIVATION.issuperset(changed):
        return Told("activation", _VERBS[edit.after["active"]], names, {"ordinal": edit.after["ordinal"]})
    return Told("edit", "edited", names, {"fields": sorted(changed)})


def delete(database: Database, adapter_id: str, actor: Actor) -> None:
    """Delete an adapter with all that hangs on it; its files are not touched.

    Raises:
        NoSuchAdapterError: there is none of this id.
    """

    def work(connection: Connection) -> None:
        rows = writing.locked(connection, [adapter_id], DELETED)
        if not rows:
            raise NoSuchAdapterError(adapter_id)
        delete_rows(connection, rows, actor)

    database.transact(work)


_OWN = ("name", "version", "file_path", *USER_STATE)
DELETED = tuple(Adapter.__table__.c[name] for name in ("pk", "id", *_OWN, "user_fields"))
"""Columns that `delete_rows` needs."""


def delete_rows(connection: Connection, rows: Sequence[Mapping[str, Any]], actor: Actor) -> None:
    """Delete locked rows; what of them a sync could not make again stays in the audit log."""
    at = utc_now()
    touched = [row["pk"] for row in rows if row["user_fields"]]
    edited = {
        row["pk"]: {name: row[name] for name in row["user_fields"]}
        for row in connection.execute(
            select(Adapter.__table__).where(bulk.among(connection, Adapter.pk, touched))
        ).mappings()
    }
    tombstones.bury(connection, [row["pk"] for row in rows])
    changes = [
        Change(
            "delete",
            writing.KIND,
            row["id"],
            {**edited.get(row["pk"], {}), **{name: row[name] for name in _OWN}},
            None,
        )
        for row in rows
    ]
    audit.record(connection, actor, at, changes)
    writing.tell(connection, actor, at, Told("deletion", "deleted", {row["id"]: row["name"] for row in rows}))
