"""`lora-manager keys`: which API keys count, a new one, another secret for the URLs of images."""

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from serving.cli.context import DataOption, settings_of
from serving.cli.errors import CommandError, Exit
from serving.cli.output import note, show_table

if TYPE_CHECKING:
    from warehouse.settings import Settings


class _Role(StrEnum):
    """The roles of the settings, whose import costs more than all of `--help`."""

    READER = "reader"
    EDITOR = "editor"
    ADMIN = "admin"


def keys(
    *,
    new: Annotated[str | None, typer.Option(metavar="NAME", help="Make a key for this name.")] = None,
    role: Annotated[_Role, typer.Option(help="What the new key may do.")] = _Role.READER,
    expires: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], metavar="DATE", help="Its last day, in UTC.")
    ] = None,
    change_signing: Annotated[
        bool, typer.Option("--change-signing", help="Make another secret for the URLs of images.")
    ] = False,
    data: DataOption = None,
) -> None:
    """Show the API keys, or make one. What is shown of a key is its name, role and last day; the key only once."""
    settings = settings_of(data)
    if new is not None:
        _make(settings, new, role, expires)
    elif change_signing:
        _change_signing(settings)
    else:
        _show(settings)


def _make(settings: "Settings", name: str, role: _Role, expires: datetime | None) -> None:
    from serving.keys import add_line, make_key
    from warehouse.settings import Role

    try:
        made = make_key(name, Role(role.value), None if expires is None else expires.date())
    except ValueError as error:
        raise CommandError(str(error), Exit.USAGE) from None
    if settings.api_keys_file is None:
        print(made.secret)
        note("This is the key, shown once. Let the service know it by its line, in LORA_MANAGER_API_KEYS or in a file")
        note("that LORA_MANAGER_API_KEYS_FILE names:")
        note(made.line)
        return
    file = settings.api_keys_file.expanduser()
    try:
        add_line(file, made.line)
    except OSError as error:
        raise CommandError(
            f"{file} was not changed, so there is no new key: {error.strerror}. Where it is mounted to be read alone, "
            "run this with LORA_MANAGER_API_KEYS_FILE unset, and append the line it shows where the file comes from"
        ) from None
    print(made.secret)
    note(f"This is the key: it is shown once. {file} has its digest, and a running service knows it in a second.")


def _change_signing(settings: "Settings") -> None:
    from serving.signing import change_secret

    path = change_secret(settings)
    note(f"{path} holds another secret; URLs that were signed before count until they expire, within two hours.")


def _show(settings: "Settings") -> None:
    from serving.keys import today

    if not settings.api_keys:
        note("No keys: the API serves this machine alone. Make one: lora-manager keys --new NAME")
    rows = [
        (
            key.name,
            key.role.value,
            key.expires or "",
            "counts" if key.is_valid_on(today()) else "expired",
            key.digest.hex()[:12],
        )
        for key in settings.api_keys
    ]
    show_table(("name", "role", "last day", "state", "sha256"), rows)
