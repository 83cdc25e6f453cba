"""What every command starts from: the settings in force, and the database they name.

`--data` and its like are written into this process's environment before the settings are read, so that the processes
a command starts work on the very same settings.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving.cli.errors import CommandError, Exit

if TYPE_CHECKING:
    from warehouse.engine import Database
    from warehouse.settings import Settings

DataOption = Annotated[
    Path | None,
    typer.Option("--data", metavar="DIR", help="Folder of all state [default: $LORA_MANAGER_DATA_DIR, else ./data]."),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]

LOOPBACK = ("127.0.0.1", "localhost", "::1")


def settings_of(data: Path | None = None, **overrides: str) -> "Settings":
    """The settings of this process and of those it starts.

    Args:
        data: the value of `--data`.
        overrides: further settings by field name, as they would stand in the environment.

    Raises:
        CommandError: a setting does not hold what it should; the message names it, never its value.
    """
    from pydantic import ValidationError

    from warehouse.settings import get_settings

    if data is not None:
        overrides["data_dir"] = str(data.expanduser().resolve())
    for name, value in overrides.items():
        os.environ[f"LORA_MANAGER_{name.upper()}"] = value
    try:
        return get_settings()
    except ValidationError as error:
        # A value may be a secret: say what is wrong with it without showing it.
        complaints = "; ".join(
            "".join(f"LORA_MANAGER_{str(part).upper()}: " for part in problem["loc"][:1]) + problem["msg"]
            for problem in error.errors(include_url=False, include_input=False)
        )
        raise CommandError(f"a setting is not valid: {complaints}", Exit.USAGE) from None


@contextmanager
def database_of(settings: "Settings", *, wait_seconds: float | None = None) -> Iterator["Database"]:
    """The database, at the schema of this version.

    Args:
        wait_seconds: how long to wait for a lock; None: as long as the pipeline does.

    Raises:
        CommandError: there is no database yet.
        SchemaError: it is at another version's schema.
    """
    from warehouse.engine import WAIT_SECONDS, open_database
    from warehouse.migrations import require_head

    if not settings.database_url and not (settings.data_dir / "warehouse.sqlite3").exists():
        raise CommandError(
            f"there is no library in {settings.data_dir} yet: run `lora-manager up`, or `lora-manager sync PATH`, or "
            "name the right folder with --data"
        )
    database = open_database(settings, wait_seconds=WAIT_SECONDS if wait_seconds is None else wait_seconds)
    try:
        require_head(database)
        yield database
    finally:
        database.dispose()


def refuse_open_host(settings: "Settings", host: str) -> None:
    """Without keys everybody who reaches the API may use it, so only this machine may.

    Raises:
        CommandError: the host is not loopback and no key is configured.
    """
    if host not in LOOPBACK and not settings.api_keys:
        raise CommandError(
            f"the API has no keys, so it serves this machine alone and not {host}: set LORA_MANAGER_API_KEYS="
            "name:role:key (roles reader, editor, admin), or leave --host away",
            Exit.USAGE,
        )
