"""Counts and samples of the tables that previews, checks and the final report of a run show.

Each is one statement, bounded in what it returns. Does not belong here: what they mean (`checks`), how they look
(`previews`), and what the API serves (`warehouse.queries`).
"""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, func, select
from sqlalchemy.orm import InstrumentedAttribute, aliased

from warehouse.models import Adapter, AdapterPair, Document, Duplicate, Embedding, File, Finding, Inspection, Root

Rows = list[dict[str, Any]]

SAMPLE = 20
"""Rows of a table in a preview."""


def _rows(connection: Connection, statement: Select[*tuple[Any, ...]]) -> Rows:
    return [dict(row) for row in connection.execute(statement).mappings()]


def counts(
    connection: Connection, column: InstrumentedAttribute[Any], *where: ColumnElement[bool], unknown: str = "unknown"
) -> dict[str, int]:
    """How many rows have each value of a column, most frequent first; NULL under the name `unknown`."""
    statement = select(column, func.count()).where(*where).group_by(column).order_by(func.count().desc(), column)
    return {unknown if value is None else str(value): count for value, count in connection.execute(statement)}


def pairs(connection: Connection, limit: int) -> Rows:
    """The adapters that were used together most."""
    one, other = aliased(Adapter), aliased(Adapter)
    statement = (
        select(one.name.label("adapter"), other.name.label("other"), AdapterPair.uses.label("uses"))
        .join(one, one.pk == AdapterPair.adapter_pk)
        .join(other, other.pk == AdapterPair.other_pk)
        .where(AdapterPair.adapter_pk < AdapterPair.other_pk)
        .order_by(AdapterPair.uses.desc(), AdapterPair.adapter_pk, AdapterPair.other_pk)
    )
    return _rows(connection, statement.limit(limit))


def root_paths(connection: Connection) -> list[str]:
    """The registered library folders."""
    return list(connection.execute(select(Root.path).order_by(Root.path)).scalars())


def root_signatures(connection: Connection) -> dict[str, str | None]:
    """The registered library folders with their signatures at the last complete scan."""
    return dict(connection.execute(select(Root.path, Root.signature)).all())


def newest_files(connection: Connection) -> Rows:
    """The weight files seen last."""
    return _rows(
        connection,
        select(File.path, (File.size / 1024).label("KiB"), File.state, File.first_seen_at.label("first seen"))
        .order_by(File.pk.desc())
        .limit(SAMPLE),
    )


def unreadable_paths(connection: Connection, limit: int) -> Rows:
    """Weight files and documents that are there and cannot be read."""
    files = select(File.path).where(File.state == "unreadable").order_by(File.pk).limit(limit)
    documents = select(Document.path).where(Document.state == "unreadable").order_by(Document.pk).limit(limit)
    return [*_rows(connection, files), *_rows(connection, documents)][:limit]


def documents_by_shape(connection: Connection) -> Rows:
    """How many documents of each shape got which verdict."""
    number = func.count().label("documents")
    statement = select(Document.shape, Document.verdict, number).where(Document.state == "present")
    return _rows(connection, statement.group_by(Document.shape, Document.verdict).order_by(number.desc()))


def quarantined(connection: Connection, limit: int | None = None) -> Rows:
    """The present documents that could not be used, with the reason."""
    return _rows(
        connection,
        select(Document.path, Document.reason_code.label("code"), Document.reason)
        .where(Document.verdict == "quarantined", Document.state == "present")
        .order_by(Document.path)
        .limit(limit),
    )


def newest_adapters(connection: Connection) -> Rows:
    """The adapters changed last."""
    return _rows(
        connection,
        select(
            Adapter.name,
            Adapter.version,
            Adapter.base_model.label("base model"),
            Adapter.archetype,
            Adapter.trained_words.label("trained words"),
            Adapter.file_state.label("file"),
        )
        .order_by(Adapter.updated_at.desc(), Adapter.pk.desc())
        .limit(SAMPLE),
    )


def invalid_weights(connection: Connection, limit: int | None = None) -> Rows:
    """Present weight files that are not what they should be, with the typed reason."""
    return _rows(
        connection,
        select(File.path, Inspection.problem.label("code"), Inspection.message.label("reason"))
        .join(Inspection, Inspection.file_pk == File.pk)
        .where(Inspection.valid.is_(False), File.state == "present")
        .order_by(File.path)
        .limit(limit),
    )


def invalid_weight_count(connection: Connection) -> int:
    """How many present weight files are not valid."""
    statement = (
        select(func.count())
        .select_from(Inspection)
        .join(File, File.pk == Inspection.file_pk)
        .where(Inspection.valid.is_(False), File.state == "present")
    )
    return connection.execute(statement).scalar_one()


def newest_inspections(connection: Connection) -> Rows:
    """The weight files inspected last."""
    return _rows(
        connection,
        select(
            File.path,
            Inspection.valid,
            Inspection.network_type.label("type"),
            Inspection.rank,
            Inspection.base_model.label("base model"),
            Inspection.base_model_confidence.label("confidence"),
            Inspection.problem,
        )
        .join(File, File.pk == Inspection.file_pk)
        .order_by(Inspection.inspected_at.desc(), Inspection.file_pk.desc())
        .limit(SAMPLE),
    )


def near_pairs(connection: Connection) -> Rows:
    """The nearest pairs of near duplicates."""
    first, second = aliased(Duplicate), aliased(Duplicate)
    one, other = aliased(Adapter), aliased(Adapter)
    return _rows(
        connection,
        select(one.name.label("adapter"), other.name.label("near"), first.score)
        .join(second, and_(second.kind == first.kind, second.group_key == first.group_key))
        .join(one, one.pk == first.adapter_pk)
        .join(other, other.pk == second.adapter_pk)
        .where(first.kind == "near", first.adapter_pk < second.adapter_pk)
        .order_by(first.score.desc(), first.adapter_pk)
        .limit(SAMPLE),
    )


def duplicate_weights(connection: Connection, limit: int) -> Rows:
    """Groups of adapters whose files, or whose weights under another header, are the same."""
    number = func.count().label("copies")
    statement = (
        select(Duplicate.kind, func.min(Adapter.file_path).label("one of them"), number)
        .join(Adapter, Adapter.pk == Duplicate.adapter_pk)
        .where(Duplicate.kind.in_(("same_file", "same_weights")))
        .group_by(Duplicate.kind, Duplicate.group_key)
        .order_by(number.desc(), func.min(Adapter.file_path))
    )
    return _rows(connection, statement.limit(limit))


def duplicate_groups(connection: Connection) -> dict[str, int]:
    """How many groups of duplicates there are of each kind."""
    statement = select(Duplicate.kind, func.count(func.distinct(Duplicate.group_key))).group_by(Duplicate.kind)
    return dict(connection.execute(statement.order_by(Duplicate.kind)).all())


def findings(connection: Connection) -> dict[str, int]:
    """How many findings there are of each code."""
    return counts(connection, Finding.code)


def coverage(connection: Connection, spaces: Sequence[str]) -> Mapping[str, tuple[int, int]]:
    """Of each space: the adapters whose vector is current, and all adapters."""
    total = connection.execute(select(func.count()).select_from(Adapter)).scalar_one()
    current = (
        select(Embedding.embedding_type, func.count())
        .join(Adapter, and_(Adapter.pk == Embedding.adapter_pk, Adapter.content_digest == Embedding.content_digest))
        .group_by(Embedding.embedding_type)
    )
    found = dict(connection.execute(current).all())
    return {space: (found.get(space, 0), total) for space in spaces}


def qualities(connection: Connection, space: str, limit: int = 10_000) -> list[float]:
    """The quality scores of the vectors of a space, of at most `limit` of the newest."""
    statement = (
        select(Embedding.quality_score)
        .where(Embedding.embedding_type == space, Embedding.quality_score.is_not(None))
        .order_by(Embedding.pk.desc())
        .limit(limit)
    )
    return [float(score) for score in connection.execute(statement).scalars() if score is not None]


def models_of(connection: Connection, space: str) -> Rows:
    """Which models made the vectors of a space."""
    number = func.count().label("vectors")
    statement = (
        select(
            Embedding.model_name.label("model"), Embedding.model_version.label("version"), Embedding.dimension, number
        )
        .where(Embedding.embedding_type == space)
        .group_by(Embedding.model_name, Embedding.model_version, Embedding.dimension)
    )
    return _rows(connection, statement.order_by(number.desc()))


def embeddings_after(connection: Connection, pk: int) -> int:
    """How many vectors were written after the one with this number; a changed vector gets a new number."""
    return connection.execute(select(func.count()).select_from(Embedding).where(Embedding.pk > pk)).scalar_one()


def embedding_count(connection: Connection) -> int:
    """How many adapters have at least one vector."""
    return connection.execute(select(func.count(func.distinct(Embedding.adapter_pk)))).scalar_one()
