"""SQL expressions over JSON columns that mean the same on SQLite and PostgreSQL, whatever the JSON holds.

A cast of JSON text fails the whole statement on PostgreSQL when one row holds another type, so these give NULL then.
"""

from typing import Any

from sqlalchemy import BigInteger, Boolean, ColumnElement, case, literal_column
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


def _key(name: str) -> ColumnElement[Any]:
    assert name.isidentifier(), "written into the statement as it stands"
    return literal_column(f"'{name}'")


class JsonInteger(FunctionElement[int]):
    """The whole number under a key of a JSON object; NULL where there is none."""

    name = "json_integer"
    type = BigInteger()
    inherit_cache = True

    def __init__(self, document: Any, key: str) -> None:
        super().__init__(document, _key(key))


class JsonBoolean(FunctionElement[bool]):
    """The truth value under a key of a JSON object; NULL where there is none."""

    name = "json_boolean"
    type = Boolean()
    inherit_cache = True

    def __init__(self, document: Any, key: str) -> None:
        super().__init__(document, _key(key))


def _arguments(element: FunctionElement[Any], compiler: SQLCompiler, **options: Any) -> tuple[str, str]:
    document, key = (compiler.process(clause, **options) for clause in element.clauses)
    return document, key


@compiles(JsonInteger, "sqlite")
def _integer_sqlite(element: JsonInteger, compiler: SQLCompiler, **options: Any) -> str:
    document, key = _arguments(element, compiler, **options)
    return f"CASE json_type({document}, '$.' || {key}) WHEN 'integer' THEN json_extract({document}, '$.' || {key}) END"


@compiles(JsonInteger, "postgresql")
def _integer_postgresql(element: JsonInteger, compiler: SQLCompiler, **options: Any) -> str:
    document, key = _arguments(element, compiler, **options)
    whole = f"jsonb_typeof({document} -> {key}) = 'number' AND ({document} ->> {key}) ~ '^-?[0-9]{{1,18}}$'"
    return f"CASE WHEN {whole} THEN CAST({document} ->> {key} AS BIGINT) END"


@compiles(JsonBoolean, "sqlite")
def _boolean_sqlite(element: JsonBoolean, compiler: SQLCompiler, **options: Any) -> str:
    document, key = _arguments(element, compiler, **options)
    return f"CASE json_type({document}, '$.' || {key}) WHEN 'true' THEN 1 WHEN 'false' THEN 0 END"


@compiles(JsonBoolean, "postgresql")
def _boolean_postgresql(element: JsonBoolean, compiler: SQLCompiler, **options: Any) -> str:
    document, key = _arguments(element, compiler, **options)
    return f"CASE {document} ->> {key} WHEN 'true' THEN true WHEN 'false' THEN false END"


def nsfw_rating(level: Any) -> ColumnElement[str | None]:
    """The name of the highest bit of Civitai's NSFW mask; NULL for 0, which is not stated."""
    return case(
        (level >= 32, "Blocked"),
        (level >= 16, "XXX"),
        (level >= 8, "X"),
        (level >= 4, "R"),
        (level >= 2, "PG-13"),
        (level >= 1, "PG"),
    )
