"""`lora-manager backup` and `lora-manager restore`: all that only its users could make again, in one file, and back."""

from pathlib import Path
from typing import Annotated

import typer

from serving.cli.context import DataOption, database_of, settings_of
from serving.cli.migrate_database import refuse_while_running
from serving.cli.output import note

_MIB = 2**20


def backup(
    path: Annotated[
        str,
        typer.Argument(metavar="PATH", help="The file; or a folder, or PATH/, for a name by the time."),
    ],
    *,
    data: DataOption = None,
    verify: Annotated[bool, typer.Option(help="Read all of it again and compare.")] = True,
    with_dagster: Annotated[
        bool, typer.Option("--with-dagster", help="Also the history of runs, where it is in the data folder.")
    ] = False,
) -> None:
    """Write a backup. One file, of everything that cannot be made again; the system may run meanwhile."""
    from warehouse.backup.making import make_backup

    settings = settings_of(data)
    target = Path(path).expanduser().resolve()
    with database_of(settings) as database:
        if path.endswith("/"):
            target.mkdir(parents=True, exist_ok=True)
        made = make_backup(
            database,
            settings,
            target,
            verify=verify,
            with_dagster=with_dagster,
            say=lambda what: note(f"backup: {what}"),
        )
    print(f"{made.path}: {made.rows:,} rows, {made.files:,} files, {made.size / _MIB:,.1f} MiB")


def restore(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A backup.", exists=True, dir_okay=False)],
    *,
    data: DataOption = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Keep what is there aside, and put the backup in its place.")
    ] = False,
) -> None:
    """Restore a backup. Into an empty data folder and database, of either dialect; compared before and after."""
    from warehouse.backup.restoring import restore_backup

    settings = settings_of(data)
    refuse_while_running(settings)
    restored = restore_backup(settings, path, replace=replace, say=lambda what: note(f"restore: {what}"))
    print(f"{path}: {restored.rows:,} rows and {restored.files:,} files are in {settings.data_dir}")
    if restored.aside:
        note(f"What was there before is kept in {' and '.join(restored.aside)}: delete it when you are content.")
    if restored.unfinished_jobs:
        note(
            f"{restored.unfinished_jobs:,} deliveries and generations were waiting or running when the backup was "
            "made; they are done when the system starts, also those that were done since: cancel what must not be."
        )
    note(
        "Next: `lora-manager up`. It answers at once, and publishes indices and marts again without computing vectors "
        "anew; `lora-manager sync` does that alone."
    )
