"""Registering an adapter for a weight file that is there, whether or not a sync knows it.

The row has no bundle until a sync meets the file: then it becomes the adapter of that file, keeps its id and what was
stated for it, and gets everything else from the documents.
"""

from collections import Counter
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from sqlalchemy import Connection, insert, literal_column, select, update

from warehouse import audit, facets
from warehouse.audit import Actor, Change
from warehouse.catalog import writing
from warehouse.catalog.effects import effects_of
from warehouse.catalog.errors import NameTakenError
from warehouse.catalog.fields import DERIVED, USER_STATE, cleaned, completed
from warehouse.catalog.files import WeightFile, look_at, roots_of
from warehouse.civitai import html_to_text
from warehouse.dialects import insert_or
from warehouse.engine import Database
from warehouse.ids import new_id
from warehouse.ingest import tombstones
from warehouse.ingest.deriving import FILE_KEY
from warehouse.models import Adapter, AdapterDetail, AdapterSearch, AdapterTag, Bundle, File, utc_now
from warehouse.queries.adapters import AdapterRow, get
from warehouse.settings import Settings

_PRODUCER = "api"


def register(database: Database, settings: Settings, fields: Mapping[str, Any], actor: Actor) -> AdapterRow:
    """Make an adapter of validated fields, of which `name` and `file_path` are given.

    Raises:
        FieldError: the file cannot be registered.
        NameTakenError: another adapter has this name and version.
    """
    with database.read() as connection:
        roots = roots_of(connection, settings)
    # The disk may be slow: nothing is locked yet.
    file = look_at(fields["file_path"], roots)
    values = _values(cleaned(fields), file)
    return database.transact(lambda connection: _insert(connection, values, actor))


def _values(stated: dict[str, Any], file: WeightFile) -> dict[str, Any]:
    """Every column that a registered adapter has."""
    stated["file_path"] = file.path
    measured = {
        "primary_file_name": PurePath(file.path).name,
        "primary_file_size_kb": file.size / 1024,
        "primary_file_local_path": file.path,
    }
    values = completed({**measured, **stated})
    edited = [name for name in stated if name in DERIVED and name != "file_path" and stated[name] != DERIVED[name]]
    identity, now = new_id(), utc_now()
    return {
        **values,
        "id": identity,
        # Until a sync meets the file and gives it the key of one.
        "source_key": f"api:{identity}",
        "file_state": file.state,
        "weight_by_user": "weight" in stated,
        "user_fields": edited,
        "producer": _PRODUCER,
        "created_at": now,
        "updated_at": now,
    }


def _insert(connection: Connection, values: dict[str, Any], actor: Actor) -> AdapterRow:
    text = html_to_text(values["description"]) if values["description"] else None
    effects = effects_of(values, description_text=text, notes=None, examples=[])
    values = {**values, "content_digest": effects.content_digest}
    pk = connection.execute(
        insert_or(connection, Adapter.__table__)
        .values(values)
        .on_conflict_do_nothing(index_elements=[Adapter.name, literal_column("coalesce(version, '')")])
        .returning(Adapter.pk)
    ).scalar()
    if pk is None:
        raise NameTakenError(values["name"], values["version"])
    stated_by_file = ("file_path", "primary_file_name", "primary_file_size_kb", "primary_file_local_path")
    connection.execute(
        insert(AdapterDetail).values(
            adapter_pk=pk,
            provenance={"file": list(stated_by_file)},
            description_text=text,
            notes=None,
            examples=[],
        )
    )
    connection.execute(insert(AdapterSearch).values(adapter_pk=pk, **effects.search))
    if effects.tags:
        connection.execute(insert(AdapterTag), [{"adapter_pk": pk, "tag": tag} for tag in effects.tags])
    tombstones.lift(connection, values["file_path"])
    _wake(connection, values["file_path"])
    facets.apply(connection, Counter(facets.keys_of(values, effects.tags)))
    after = {
        name: values[name]
        for name, default in {**DERIVED, **USER_STATE}.items()
        if values[name] != default or name in ("name", "version", "file_path")
    }
    at = values["created_at"]
    audit.record(connection, actor, at, [Change("create", writing.KIND, values["id"], None, after)])
    writing.tell(connection, actor, at, writing.Told("creation", "registered", {values["id"]: values["name"]}))
    row = get(connection, values["id"])
    assert row is not None
    return row


def _wake(connection: Connection, path: str) -> None:
    """Let the next sync derive what lies beside a file that it knows and that no adapter stands for."""
    stands = select(Adapter.pk).where(Adapter.source_key == f"{FILE_KEY}{path}")
    if connection.execute(stands).first() is None:
        bundle = select(File.bundle_pk).where(File.path == path).scalar_subquery()
        connection.execute(update(Bundle).where(Bundle.pk == bundle).values(revision=Bundle.revision + 1))
