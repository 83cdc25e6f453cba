"""`vectors/<space>`: one asset per embedding space, made by a factory; `vectors/near_duplicates`: who is near whom."""

import dagster as dg
from pydantic import Field

from pipelines import figures, previews
from pipelines.keys import ADAPTERS, ENCODER, INDEX, INSPECTIONS, NEAR_DUPLICATES, SPACE_NAMES, vector_key
from pipelines.policies import GPU_POOL, RETRY
from pipelines.resources import Warehouse
from pipelines.stages import metadata_of, stage
from pipelines.tables import table_metadata
from warehouse.tuning.examples import TUNED_SPACES
from warehouse.vectors import compute_embeddings, find_near_duplicates


class VectorsConfig(dg.Config):
    """What is embedded."""

    force: bool = Field(default=False, description="Compute every vector anew, also those that are current.")
    adapter_ids: list[str] | None = Field(default=None, description="Ids of the only adapters to look at; none: all.")


_DESCRIPTIONS = {
    "semantic": "What an adapter is: vectors of its name, tags and description.",
    "artistic": "How an adapter looks: vectors of style words, trained words and the prompts of its example images.",
    "technical": "What an adapter is made of: vectors of base model, network type, rank and training facts.",
}


def _space_asset(space: str) -> dg.AssetsDefinition:
    @dg.asset(
        key=vector_key(space),
        # Rank and base model, which inspections correct, are part of the technical text.
        # A tuned encoder makes the vectors of its spaces due.
        deps=[ADAPTERS, INSPECTIONS, *([ENCODER] if space in TUNED_SPACES else [])],
        group_name="vectors",
        kinds={"huggingface", "table"},
        code_version="1",
        retry_policy=RETRY,
        pool=GPU_POOL,
        metadata=table_metadata("embeddings"),
        description=f"{_DESCRIPTIONS[space]} One unit vector each, computed only where adapter or model changed.",
    )
    def vectors(
        context: dg.AssetExecutionContext, config: VectorsConfig, warehouse: dg.ResourceParam[Warehouse]
    ) -> dg.MaterializeResult[None]:
        with stage(context, warehouse):
            report = compute_embeddings(
                warehouse.database,
                warehouse.settings,
                space,
                progress=warehouse.progress(context, f"Embedding ({space})"),
                adapter_ids=config.adapter_ids,
                force=config.force,
            )
            with warehouse.database.read() as connection:
                current, total = figures.coverage(connection, [space])[space]
                models = figures.models_of(connection, space)
                qualities = figures.qualities(connection, space)
        preview = previews.join(previews.table(models), previews.histogram(qualities, title="How much is known (0..1)"))
        share = round(current / total, 4) if total else 1.0
        return dg.MaterializeResult(metadata=metadata_of(report, preview, coverage=share))

    return vectors


@dg.asset(
    key=NEAR_DUPLICATES,
    deps=[INDEX],
    group_name="vectors",
    kinds={"faiss", "table"},
    code_version="1",
    retry_policy=RETRY,
    pool=GPU_POOL,
    metadata=table_metadata("duplicates"),
    description="Adapters of different models whose texts say nearly the same: looked for once per new vector, among "
    "its neighbours in the published index.",
)
def near_duplicates(
    context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
) -> dg.MaterializeResult[None]:
    """Compare new vectors with their neighbours."""
    with stage(context, warehouse):
        report = find_near_duplicates(
            warehouse.database, warehouse.settings, progress=warehouse.progress(context, "Comparing neighbours")
        )
        with warehouse.database.read() as connection:
            pairs = figures.near_pairs(connection)
    return dg.MaterializeResult(metadata=metadata_of(report, previews.table(pairs), pairs=report.details["pairs"]))


VECTORS = [*(_space_asset(space) for space in SPACE_NAMES), near_duplicates]
"""The assets of the embedding spaces, and what their neighbours tell."""
