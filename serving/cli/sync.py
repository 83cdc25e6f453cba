"""`lora-manager sync`: folders into the library, or what that would change."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

from serving.cli.context import DataOption, JsonOption, database_of, settings_of
from serving.cli.folders import existing_roots
from serving.cli.output import note, printable, show_json, show_table

if TYPE_CHECKING:
    from warehouse.engine import Database
    from warehouse.settings import Settings
    from warehouse.storage import LibraryRoot


@contextmanager
def _as_it_is(settings: "Settings") -> Iterator["Database"]:
    """The database as it stands; an empty one in memory where there is none, since a dry run makes nothing."""
    from warehouse.engine import connect

    if not settings.database_url and not (settings.data_dir / "warehouse.sqlite3").exists():
        empty = connect("sqlite://")
        try:
            yield empty
        finally:
            empty.dispose()
        return
    with database_of(settings) as database:
        yield database


def _dry_run(settings: "Settings", folders: list["LibraryRoot"], *, as_json: bool) -> None:
    from dataclasses import asdict

    from warehouse.ingest import plan_sync

    with _as_it_is(settings) as database:
        plan = plan_sync(database, settings, folders or None)
    if as_json:
        show_json({**asdict(plan), "roots": [str(root) for root in plan.roots], "counts": plan.counts})
        return
    columns = ("change", "kind", "size", "path", "was")
    rows = (
        (change.change, change.kind, "" if change.size is None else change.size, change.path, change.old_path)
        for change in plan.changes
    )
    if plan.changes:
        show_table(columns, rows)
    for obstacle in plan.obstacles:
        note(f"not looked at: {printable(obstacle.message)}")
    counted = ", ".join(f"{count:,} {change}" for change, count in plan.counts.items()) or "nothing to do"
    note(f"{counted}; {plan.unchanged:,} unchanged. Nothing was written.")


def sync(
    paths: Annotated[
        list[str] | None, typer.Argument(metavar="PATH…", help="Folders or s3://bucket/prefix; none: those known.")
    ] = None,
    *,
    data: DataOption = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would change, and write nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Read everything again, changed or not.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Ingest folders. Read what is new or changed, embed it, publish it. Exit code 0 when every good file went in."""
    settings = settings_of(data)
    folders = existing_roots(paths or [])
    if dry_run:
        _dry_run(settings, folders, as_json=as_json)
        return
    from serving.cli.pipeline import run_job

    # Here, where a folder that cannot be made is one line: the run would end in a traceback.
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    arguments = [argument for folder in folders for argument in ("--path", str(folder))]
    arguments += ["--force"] * force + ["--json"] * as_json
    raise typer.Exit(run_job("sync_library", arguments))
