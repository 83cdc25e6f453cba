"""`marts/*`: the published tables for analysts, and `marts/analytics`, the catalog over them.

One step makes them all, because they are one publication: a reader sees either the old generation or the new one.
"""

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from pipelines import previews
from pipelines.keys import ADAPTERS, ANALYTICS, mart_key
from pipelines.policies import LAST, RETRY, WAREHOUSE_POOL
from pipelines.resources import Warehouse
from pipelines.stages import Stopwatch, stage
from pipelines.tables import assets_read_by
from warehouse.contracts import Metadata
from warehouse.generations import Published, collect
from warehouse.marts import MARTS, Aggregate, Fact, Mart, export_marts, read_mart, snapshot_statistics

_SAMPLE = 10


def _upstream(mart: Mart) -> list[dg.AssetKey]:
    """A fact comes from the assets whose tables it reads, an aggregate from the marts that its SQL names."""
    if isinstance(mart, Fact):
        return list(assets_read_by(mart.statement())) or [ADAPTERS]
    assert isinstance(mart, Aggregate)
    words = set(re.findall(r"\w+", mart.sql))
    return [mart_key(other.name) for other in MARTS if other.name in words and other is not mart]


def _columns(mart: Mart) -> dg.TableSchema:
    return dg.TableSchema(
        [dg.TableColumn(column.name, column.type.value.lower(), column.description) for column in mart.columns]
    )


def _specs() -> Iterator[dg.AssetSpec]:
    for mart in MARTS:
        yield dg.AssetSpec(
            mart_key(mart.name),
            deps=_upstream(mart),
            group_name="marts",
            kinds={"parquet", "table"},
            code_version=mart.fingerprint(),
            description=f"{mart.description} One row per {mart.grain}.",
            metadata={"dagster/table_name": f"analytics.{mart.name}", "dagster/column_schema": _columns(mart)},
        )
    yield dg.AssetSpec(
        ANALYTICS,
        deps=[mart_key(mart.name) for mart in MARTS],
        group_name="marts",
        kinds={"duckdb", "file"},
        code_version="1",
        description="The read-only DuckDB catalog of all published tables: a documented view per table. "
        "`lora-manager sql` opens it, and so does any DuckDB client.",
    )


def _metadata(rows: int, seconds: float, preview: str, **more: Any) -> Mapping[str, Any]:
    return {
        Metadata.ROWS: rows,
        Metadata.CHANGED: rows,
        Metadata.SKIPPED: 0,
        Metadata.REJECTED: 0,
        Metadata.SECONDS: round(seconds, 3),
        Metadata.PREVIEW: dg.MetadataValue.md(preview),
        **more,
    }


@dg.multi_asset(
    name="marts",
    specs=list(_specs()),
    retry_policy=RETRY,
    pool=WAREHOUSE_POOL,
    op_tags=LAST,
    description="Exports every table as Parquet and publishes it with the catalog as one generation.",
)
def marts(
    context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
) -> Iterator[dg.MaterializeResult[None]]:
    """Take today's snapshot of the community statistics, export, publish."""
    database, settings = warehouse.database, warehouse.settings
    watch = Stopwatch()
    with stage(context, warehouse):
        snapshot_statistics(database, datetime.now(UTC).date())
        published = export_marts(database, settings, progress=warehouse.progress(context, "Publishing marts"))
        collect(database, settings, ANALYTICS.to_user_string())
        samples = {mart.name: read_mart(database, settings, mart.name, limit=_SAMPLE) for mart in MARTS}
    yield from _results(published, samples, watch.seconds)


def _results(published: Published, samples: Mapping[str, Any], seconds: float) -> Iterator[dg.MaterializeResult[None]]:
    written = published.manifest["marts"]
    for mart in MARTS:
        entry = written[mart.name]
        preview = previews.table(samples[mart.name])
        metadata = _metadata(entry["rows"], entry["seconds"], preview, bytes=entry["bytes"])
        yield dg.MaterializeResult(mart_key(mart.name), metadata=metadata)
    overview = [{"view": mart.name, "rows": written[mart.name]["rows"], "one row per": mart.grain} for mart in MARTS]
    yield dg.MaterializeResult(
        ANALYTICS,
        metadata=_metadata(
            len(MARTS),
            seconds,
            previews.table(overview),
            generation=published.name,
            path=dg.MetadataValue.path(str(published.path)),
        ),
    )
