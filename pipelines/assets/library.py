"""`library/files`: what lies in the library folders, as the table has it. The folders are read, never written."""

import dagster as dg
from pydantic import Field

from pipelines import figures, previews
from pipelines.keys import LIBRARY_FILES
from pipelines.policies import RETRY, WAREHOUSE_POOL
from pipelines.resources import Warehouse
from pipelines.stages import metadata_of, stage
from pipelines.tables import table_metadata
from warehouse import ingest
from warehouse.models import Document, File
from warehouse.storage import root_at


class LibraryFilesConfig(dg.Config):
    """What a scan looks at."""

    paths: list[str] = Field(
        default_factory=list,
        description="Library folders or s3:// places to scan; they stay registered. Empty: every registered or "
        "configured one.",
    )
    force: bool = Field(
        default=False,
        description="Trust neither size nor time of any file: look at each one again. For folders on drives whose "
        "times lie, and after a restore.",
    )


@dg.asset(
    key=LIBRARY_FILES,
    group_name="library",
    kinds={"file", "table"},
    code_version="1",
    retry_policy=RETRY,
    pool=WAREHOUSE_POOL,
    metadata=table_metadata("files"),
    description="Weight files and documents of the library folders, told apart from the last scan by path, size and "
    "time. A vanished file becomes `missing`, a moved one keeps its identity; nothing in the folders is touched.",
)
def files(
    context: dg.AssetExecutionContext, config: LibraryFilesConfig, warehouse: dg.ResourceParam[Warehouse]
) -> dg.MaterializeResult[None]:
    """Scan the folders."""
    with stage(context, warehouse):
        report = ingest.scan_library(
            warehouse.database,
            warehouse.settings,
            [root_at(path) for path in config.paths] or None,
            force=config.force,
            progress=warehouse.progress(context, "Scanning folders"),
        )
        with warehouse.database.read() as connection:
            files_by_state = figures.counts(connection, File.state)
            documents_by_state = figures.counts(connection, Document.state)
            newest = figures.newest_files(connection)
            roots = figures.root_paths(connection)
    states = [
        {"state": state, "weight files": files_by_state.get(state, 0), "documents": documents_by_state.get(state, 0)}
        for state in sorted(files_by_state.keys() | documents_by_state.keys(), reverse=True)
    ]
    preview = previews.join(previews.table(states), previews.table(newest))
    return dg.MaterializeResult(metadata=metadata_of(report, preview, folders=dg.MetadataValue.json(roots)))
