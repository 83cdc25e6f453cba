"""`lora-manager upgrade`: the database's schema brought to that of this version."""

from serving.cli.context import DataOption, settings_of
from serving.cli.output import note

BACKUP_HINT = (
    "Your own tags, notes and activations cannot be made again: keep a backup by the version before. Stop the system "
    "and copy the data folder, or use `lora-manager backup` of that version."
)


def upgrade(*, data: DataOption = None) -> None:
    """Bring the database up to date. Make a backup with the version before, and stop the system first."""
    from sqlalchemy import make_url

    from warehouse.engine import open_database
    from warehouse.migrations import head, revision_of
    from warehouse.migrations import upgrade as migrate

    settings = settings_of(data)
    database = open_database(settings)
    shown = make_url(settings.url).render_as_string(hide_password=True)
    try:
        before = revision_of(database)
        if before is not None and before != head():
            note(BACKUP_HINT)
        migrate(database)
    finally:
        database.dispose()
    if before == head():
        print(f"{shown} is at revision {head()} already.")
    else:
        print(f"{shown}: {before or 'no tables'} -> {head()}.")
