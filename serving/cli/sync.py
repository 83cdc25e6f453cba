"""`lora-manager sync`: folders into the library, or what that would change."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from serving.cli.context import DataOption, JsonOption, settings_of
from serving.cli.folders import existing_folders

if TYPE_CHECKING:
    from warehouse.settings import Settings


def _dry_run(settings: "Settings", paths: list[Path], *, as_json: bool) -> None:
    raise NotImplementedError


def sync(
    paths: Annotated[list[Path] | None, typer.Argument(metavar="PATH…", help="Folders; none: those known.")] = None,
    *,
    data: DataOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, and write nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Read everything again, changed or not.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Ingest folders. Read what is new or changed, embed it, publish it. Exit code 0 when every good file went in."""
    settings = settings_of(data)
    folders = existing_folders(paths or [])
    if dry_run:
        _dry_run(settings, folders, as_json=as_json)
        return
    from serving.cli.pipeline import run_job

    arguments = [argument for folder in folders for argument in ("--path", str(folder))]
    arguments += ["--force"] * force + ["--json"] * as_json
    raise typer.Exit(run_job("sync_library", arguments))
