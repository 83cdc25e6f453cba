"""The one resource: the warehouse, opened for a run or for the tick of a sensor, closed at its end.

Belongs here: what an asset needs to reach the data. Does not: what it does with it. There is no IO manager: the
functions of `warehouse` work where the data lives.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import dagster as dg

from pipelines.lost_runs import presence_name
from pipelines.progress import LogProgress, Reporter
from warehouse.contracts import Tag
from warehouse.engine import Database, open_database
from warehouse.migrations import require_head
from warehouse.presence import present
from warehouse.processes import identity
from warehouse.settings import Settings, get_settings

if TYPE_CHECKING:
    from warehouse.ingest.progress import Progress


@dataclass(frozen=True, slots=True)
class Warehouse:
    """An open database with the settings it came from, and how work on it reports."""

    database: Database
    settings: Settings
    reporter: Reporter = LogProgress
    attended: bool = False
    """Somebody waits at a terminal: a lock held elsewhere is reported at once instead of waited for."""

    def progress(self, context: dg.AssetExecutionContext, label: str) -> "Progress":
        """The progress of a stage, under the name a person reads."""
        return self.reporter(label, context.log)


def warehouse_resource(
    settings: Settings | None = None, *, reporter: Reporter = LogProgress, attended: bool = False
) -> dg.ResourceDefinition:
    """The warehouse as a resource.

    Args:
        settings: None reads the environment when a run starts, never when the definitions are loaded.
        reporter: how stages tell their progress.
        attended: see `Warehouse.attended`.

    Raises (when a run starts):
        SchemaError: the database is not at the revision of this version.
    """

    @dg.resource(description="The warehouse: tables, settings and published files of one data folder.")
    def open_warehouse(context: dg.InitResourceContext) -> Iterator[Warehouse]:
        chosen = settings or get_settings()
        database = open_database(chosen)
        try:
            require_head(database)
            warehouse = Warehouse(database, chosen, reporter, attended)
            if context.run is None or context.instance is None:
                yield warehouse
                return
            with present(database, presence_name(context.run.run_id)):
                bound = {Tag.DEVICES: chosen.visible_devices} if chosen.visible_devices else {}
                context.instance.add_run_tags(context.run.run_id, {Tag.PROCESS: identity(), **bound})
                yield warehouse
        finally:
            database.dispose()

    return open_warehouse
