"""`use/…`: what is learned from use."""

import dagster as dg

from pipelines import figures, previews
from pipelines.keys import ADAPTERS, PAIRS, PROFILES
from pipelines.policies import RETRY, WAREHOUSE_POOL
from pipelines.resources import Warehouse
from pipelines.stages import metadata_of, stage
from pipelines.tables import table_metadata
from warehouse import learning


@dg.asset(
    key=PAIRS,
    deps=[ADAPTERS],
    group_name="use",
    kinds={"table"},
    code_version="1",
    retry_policy=RETRY,
    pool=WAREHOUSE_POOL,
    metadata=table_metadata("adapter_pairs"),
    description="How often two adapters were in one prompt that was delivered or generated; of each adapter the "
    "partners that were used most and those that were used last.",
)
def pairs(context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]) -> dg.MaterializeResult[None]:
    """Count what was used together since the last time."""
    with stage(context, warehouse):
        report = learning.count_pairs(warehouse.database, warehouse.settings)
        with warehouse.database.read() as connection:
            most = figures.pairs(connection, figures.SAMPLE)
    return dg.MaterializeResult(metadata=metadata_of(report, previews.table(most)))


@dg.asset(
    key=PROFILES,
    deps=[ADAPTERS],
    group_name="use",
    kinds={"table"},
    code_version="1",
    retry_policy=RETRY,
    pool=WAREHOUSE_POOL,
    metadata=table_metadata("use_profiles"),
    description="What the holder of each API key prefers: the tags, authors, archetypes and base models of what was "
    "used, activated and liked, the older the less. Empty with LORA_MANAGER_LEARN_FROM_USE=false.",
)
def profiles(context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]) -> dg.MaterializeResult[None]:
    """Derive what holders of keys prefer who have done something."""
    with stage(context, warehouse):
        report = learning.derive_profiles(warehouse.database, warehouse.settings)
    # Whose they are and what they say is nobody's business but their holders'.
    preview = previews.bars({"known": report.rows, "changed": report.changed}, title="Profiles")
    return dg.MaterializeResult(metadata=metadata_of(report, preview))
