"""Assembles the command `lora-manager`, and turns every error into one line and an exit code."""

import sys
from typing import Annotated

import typer

from serving.cli.asking import recommend, similar
from serving.cli.backup import backup, restore
from serving.cli.doctor import doctor
from serving.cli.errors import Exit, explain
from serving.cli.evaluate import evaluate
from serving.cli.keys import keys
from serving.cli.migrate_database import migrate_database
from serving.cli.sample import sample
from serving.cli.serve import serve
from serving.cli.sql import sql
from serving.cli.status import status
from serving.cli.sync import sync
from serving.cli.up import up
from serving.cli.upgrade import upgrade

app = typer.Typer(
    name="lora-manager",
    help="A data platform for LoRA adapters: ingest, inspect, embed, recommend.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    # Boxes are for people at a terminal; elsewhere plain lines that nothing truncates.
    rich_markup_mode="rich" if sys.stdout.isatty() else None,
)


def _show_version(wanted: bool) -> None:
    if wanted:
        from serving.version import VERSION

        print(f"lora-manager {VERSION}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options before the command."""


_COMMANDS = (
    *(up, serve, sync, status, similar, recommend, evaluate, sql, doctor, keys, sample, upgrade),
    *(backup, restore, migrate_database),
)
for command in _COMMANDS:
    app.command()(command)


def main() -> None:
    """Run the command line of this process and leave with its exit code."""
    try:
        app()
    except KeyboardInterrupt:
        sys.exit(Exit.INTERRUPTED)
    except Exception as error:
        if "--debug" in sys.argv:
            raise
        message, code = explain(error)
        print(f"error: {message}", file=sys.stderr)
        sys.exit(code)


if __name__ == "__main__":
    main()
