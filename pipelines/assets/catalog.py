"""`catalog/documents` and `catalog/adapters`: the metadata as it was found, and the adapters merged from it."""

from dataclasses import replace

import dagster as dg

from pipelines import figures, previews
from pipelines.keys import ADAPTERS, DOCUMENTS, LIBRARY_FILES
from pipelines.outcomes import ADAPTERS_CHANGED
from pipelines.policies import RETRY, WAREHOUSE_POOL
from pipelines.resources import Warehouse
from pipelines.stages import metadata_of, stage
from pipelines.tables import table_metadata
from warehouse import ingest
from warehouse.models import Adapter, Document


@dg.asset(
    key=DOCUMENTS,
    deps=[LIBRARY_FILES],
    group_name="catalog",
    kinds={"json", "table"},
    code_version="1",
    retry_policy=RETRY,
    pool=WAREHOUSE_POOL,
    metadata=table_metadata("documents"),
    description="Every metadata document beside the weights: its raw bytes, its shape, and the verdict of reading it. "
    "What cannot be used is quarantined with its reason and stops nothing else. While no weight file waits, adapters "
    "of documents alone are derived on the way.",
)
def documents(context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]) -> dg.MaterializeResult[None]:
    """Read the documents that changed."""
    with stage(context, warehouse):
        report = ingest.read_documents(
            warehouse.database, warehouse.settings, progress=warehouse.progress(context, "Reading documents")
        )
        with warehouse.database.read() as connection:
            verdicts = figures.counts(connection, Document.verdict, Document.state == "present", unknown="unread")
            shapes = figures.documents_by_shape(connection)
            refused = figures.quarantined(connection, figures.SAMPLE)
    preview = previews.join(
        previews.bars(verdicts, title="Documents by verdict"),
        previews.table(shapes),
        f"**Quarantined**\n\n{previews.table(refused)}" if refused else "",
    )
    derived = report.details["adapters"]
    changed = sum(derived[name] for name in ("inserted", "updated", "missing", "deleted"))
    return dg.MaterializeResult(metadata=metadata_of(report, preview, **{ADAPTERS_CHANGED: changed}))


@dg.asset(
    key=ADAPTERS,
    deps=[DOCUMENTS],
    group_name="catalog",
    kinds={"table"},
    code_version="1",
    retry_policy=RETRY,
    pool=WAREHOUSE_POOL,
    metadata=table_metadata("adapters"),
    description="LoRA adapters, one per version: merged from documents and weight headers with precedence and the "
    "source of each field. What a user set is never touched.",
)
def adapters(context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]) -> dg.MaterializeResult[None]:
    """Build the adapters of what changed."""
    with stage(context, warehouse):
        report = ingest.build_adapters(
            warehouse.database, warehouse.settings, progress=warehouse.progress(context, "Building adapters")
        )
        with warehouse.database.read() as connection:
            base_models = figures.counts(connection, Adapter.base_model)
            archetypes = figures.counts(connection, Adapter.archetype)
            newest = figures.newest_adapters(connection)
    preview = previews.join(
        previews.bars(base_models, title="Adapters by base model"),
        previews.bars(archetypes, title="Adapters by archetype"),
        f"**Changed last**\n\n{previews.table(newest)}",
    )
    earlier = _derived_by_documents(context)
    # They were looked at and found done, which a reader of this stage takes for a sync that changed nothing.
    report = replace(report, changed=report.changed + earlier, skipped=max(report.skipped - earlier, 0))
    return dg.MaterializeResult(metadata=metadata_of(report, preview))


def _derived_by_documents(context: dg.AssetExecutionContext) -> int:
    """The adapters that `catalog/documents` has derived on the way in this run."""
    event = context.instance.get_latest_materialization_event(DOCUMENTS)
    if event is None or event.run_id != context.run.run_id or event.asset_materialization is None:
        return 0
    counted = event.asset_materialization.metadata.get(ADAPTERS_CHANGED)
    return int(str(counted.value)) if counted is not None else 0
