"""`lora-manager migrate-database`: everything in the database into another one, of the other dialect."""

from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from serving.cli.context import DataOption, database_of, settings_of
from serving.cli.errors import CommandError, Exit
from serving.cli.output import note, show_table

if TYPE_CHECKING:
    from warehouse.engine import Database
    from warehouse.settings import Settings
    from warehouse.transfer.copying import Compared

_NO_TARGET = "--to names neither a PostgreSQL (postgresql://user@host/name) nor `sqlite`"
_WAIT_SECONDS = 10.0
"""For whoever writes to the source at this moment; a system that runs does not stop for us."""


def refuse_while_running(settings: "Settings") -> None:
    """Refuse to touch a data folder that an `up` works on.

    Raises:
        CommandError: one does.
    """
    from serving.cli.running import RunFolder

    if running := RunFolder(settings.data_dir).running():
        raise CommandError(
            f"`lora-manager up` (process {running.get('pid', '?')}) works on {settings.data_dir}: stop it first",
            Exit.TRY_AGAIN,
        )


def _target_url(settings: "Settings", to: str) -> str:
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    from warehouse.settings import sqlalchemy_url

    url = f"sqlite:///{settings.data_dir / 'warehouse.sqlite3'}" if to == "sqlite" else sqlalchemy_url(to)
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise CommandError(_NO_TARGET, Exit.USAGE) from None
    if parsed == make_url(settings.url):
        raise CommandError("--to names the database that is in use already: name another", Exit.USAGE)
    return url


def _open(url: str) -> "Database":
    """The target, which answers.

    Raises:
        CommandError: it does not.
    """
    from sqlalchemy.exc import ArgumentError, DBAPIError

    from warehouse.engine import connect

    try:
        target = connect(url)
        with target.read():
            return target
    except ArgumentError:
        raise CommandError(_NO_TARGET, Exit.USAGE) from None
    except DBAPIError as error:
        said = str(error.orig).strip().partition("\n")[0]
        raise CommandError(
            f"the database that --to names does not answer: {said}. In a URL, characters of a password such as @ / : % "
            "are written %40 %2F %3A %25"
        ) from None


def _show(compared: list["Compared"]) -> None:
    rows = [(row.table, f"{row.source_rows:,}", f"{row.target_rows:,}", row.target_digest[-16:]) for row in compared]
    total = (sum(row.source_rows for row in compared), sum(row.target_rows for row in compared))
    show_table(("table", "rows", "copied", "digest"), [*rows, ("all", f"{total[0]:,}", f"{total[1]:,}", "")])


def migrate_database(
    *,
    to: Annotated[
        str,
        typer.Option("--to", metavar="URL", help="postgresql://user@host/name; `sqlite`: the file in the data folder."),
    ],
    data: DataOption = None,
    start_over: Annotated[
        bool, typer.Option("--start-over", help="Empty a target that holds a part of a copy, and begin again.")
    ] = False,
) -> None:
    """Copy the database into an empty one. Goes on where it was when it was stopped; compares both at the end."""
    from sqlalchemy import make_url

    settings = settings_of(data)
    url = _target_url(settings, to)
    refuse_while_running(settings)
    from warehouse.folders import held
    from warehouse.transfer.copying import copy_database

    with ExitStack() as stack:
        source = stack.enter_context(database_of(settings, wait_seconds=_WAIT_SECONDS))
        if not stack.enter_context(held(settings.data_dir, alone=True)):
            raise CommandError(
                f"an API or a restoration works on {settings.data_dir}: stop it first, or what it writes is not copied",
                Exit.TRY_AGAIN,
            )
        target = _open(url)
        try:
            _show(copy_database(source, target, start_over=start_over, say=lambda what: note(f"copying: {what}")))
        finally:
            target.dispose()
    shown = make_url(url).set(drivername=make_url(url).get_backend_name()).render_as_string(hide_password=True)
    setting = "unset LORA_MANAGER_DATABASE_URL" if to == "sqlite" else f"set LORA_MANAGER_DATABASE_URL={shown}"
    note(
        f"Both hold the same. Next: {setting}, start again, and keep the old database until you are content. The data "
        "folder stays in use; Dagster begins a new history of runs."
    )
