"""`catalog/inspections`: what the weight files themselves say, measured and compared with what documents claim."""

import dagster as dg

from pipelines import figures, previews
from pipelines.keys import ADAPTERS, INSPECTIONS
from pipelines.policies import RETRY, WAREHOUSE_POOL
from pipelines.resources import Warehouse
from pipelines.stages import metadata_of, stage
from pipelines.tables import table_metadata
from warehouse import ingest
from warehouse.models import Inspection


@dg.asset(
    key=INSPECTIONS,
    deps=[ADAPTERS],
    group_name="catalog",
    kinds={"safetensors", "table"},
    code_version="1",
    retry_policy=RETRY,
    pool=WAREHOUSE_POOL,
    metadata=table_metadata("inspections"),
    description="Weight files validated and hashed in one read: typed problems, network type, rank, base model, "
    "duplicates, and findings where the file and its documents disagree.",
)
def inspections(
    context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
) -> dg.MaterializeResult[None]:
    """Inspect the files that changed."""
    with stage(context, warehouse):
        report = ingest.inspect_files(
            warehouse.database, warehouse.settings, progress=warehouse.progress(context, "Inspecting weights")
        )
        with warehouse.database.read() as connection:
            types = figures.counts(connection, Inspection.network_type)
            findings = figures.findings(connection)
            duplicates = figures.duplicate_groups(connection)
            newest = figures.newest_inspections(connection)
    preview = previews.join(
        previews.bars(types, title="Weight files by network type"),
        previews.bars(findings, title="Findings"),
        previews.bars(duplicates, title="Groups of duplicates"),
        f"**Inspected last**\n\n{previews.table(newest)}",
    )
    return dg.MaterializeResult(metadata=metadata_of(report, preview))
