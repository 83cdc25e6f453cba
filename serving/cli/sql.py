"""`lora-manager sql`: questions to the published catalog in SQL, one at a time or in a session; read-only."""

import sys
from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving.cli.context import DataOption, database_of, settings_of
from serving.cli.errors import CommandError
from serving.cli.input import given_text, piped_text
from serving.cli.output import note, on_terminal, printable, show_json, show_table

if TYPE_CHECKING:
    from warehouse.engine import Database
    from warehouse.settings import Settings

_PROMPT = "sql> "
_MORE = "...> "


class Format(StrEnum):
    """How rows are printed."""

    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def _show(columns: Sequence[str], rows: Sequence[Sequence[Any]], form: Format) -> None:
    if form is Format.JSON:
        show_json([dict(zip(columns, row, strict=True)) for row in rows])
    elif form is Format.CSV:
        import csv

        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(columns)
        # A file keeps what was stored; a terminal must not be told what to do by it.
        writer.writerows([[printable(value) for value in row] for row in rows] if on_terminal() else rows)
    else:
        show_table(columns, rows)


class _Catalog:
    """The published catalog with the limits of this call."""

    def __init__(self, database: "Database", settings: "Settings", *, limit: int, timeout: float, form: Format) -> None:
        self._database, self._settings = database, settings
        self._limit, self._timeout, self._form = limit, timeout, form

    def ask(self, question: str) -> None:
        """Run one query and print its rows.

        Raises:
            CommandError: the catalog refuses it, or it took too long.
        """
        from warehouse.marts import NothingPublishedError, QueryError, run_query

        try:
            result = run_query(self._database, self._settings, question, limit=self._limit, timeout=self._timeout)
        except (QueryError, NothingPublishedError) as error:
            raise CommandError(str(error)) from None
        _show([column.name for column in result.columns], result.rows, self._form)
        if result.truncated:
            note(f"Only the first {self._limit:,} rows: --limit takes more.")


def _statement_from_terminal() -> str | None:
    """Lines up to one that ends in a semicolon; None at the end of input."""
    lines: list[str] = []
    while True:
        try:
            line = input(_MORE if lines else _PROMPT)
        except EOFError:
            print()
            return None
        except KeyboardInterrupt:
            print()
            lines = []
            continue
        if not lines and line.strip().lower() in {"exit", "quit", ".exit", ".quit", r"\q"}:
            return None
        lines.append(line)
        if line.rstrip().endswith(";") or not any(each.strip() for each in lines):
            return "\n".join(lines)


def _session(catalog: _Catalog) -> None:
    import readline  # noqa: F401 - its import gives input() history and editing

    note("Read-only. A query ends with a semicolon; SHOW TABLES; lists the views, DESCRIBE name; their columns; exit.")
    while (question := _statement_from_terminal()) is not None:
        if not question.strip(" ;\n\t"):
            continue
        try:
            catalog.ask(question)
        except CommandError as error:
            note(f"error: {error}")


def sql(
    query: Annotated[
        str | None, typer.Argument(metavar="[QUERY]", help="One query; none: a session, or stdin.")
    ] = None,
    *,
    data: DataOption = None,
    form: Annotated[Format, typer.Option("--format", help="How rows are printed.")] = Format.TABLE,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="The most rows to print.")] = 1_000,
    timeout: Annotated[float, typer.Option(min=0.1, max=600, help="Seconds before a query is stopped.")] = 60.0,
) -> None:
    """Query the catalog with SQL. Read-only, on the published tables, also while a sync runs."""
    settings = settings_of(data)
    with database_of(settings) as database:
        catalog = _Catalog(database, settings, limit=limit, timeout=timeout, form=form)
        if query is None and sys.stdin.isatty() and on_terminal():
            _session(catalog)
        else:
            question = piped_text() if query is None or query == "-" else given_text(query)
            if not question.strip():
                raise CommandError('no query: lora-manager sql "SELECT count(*) FROM adapters"', 2)
            catalog.ask(question)
