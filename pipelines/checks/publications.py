"""Checks about what is derived: maintained counters, coverage of the spaces, freshness of the index."""

from collections.abc import Iterator

import dagster as dg

from pipelines import figures, previews
from pipelines.keys import ADAPTERS, INDEX, SPACE_NAMES, vector_key
from pipelines.resources import Warehouse
from warehouse import facets
from warehouse.generations import current

_LISTED = 50


@dg.asset_check(asset=ADAPTERS, description="The maintained counters of each facet equal a full count.")
def facet_counters_true(warehouse: dg.ResourceParam[Warehouse]) -> dg.AssetCheckResult:
    """Compare the counters that list pages read with the truth."""
    with warehouse.database.read() as connection:
        truth, kept = facets.recount(connection), facets.stored(connection)
    wrong = [
        {"facet": facet, "value": value, "counter": kept[facet, value], "truth": truth[facet, value]}
        for facet, value in sorted(truth.keys() | kept.keys())
        if kept[facet, value] != truth[facet, value]
    ]
    return dg.AssetCheckResult(
        passed=not wrong,
        description=f"Wrong counters: {len(wrong):,}. List pages show wrong totals." if wrong else "All are true.",
        metadata={"wrong": dg.MetadataValue.md(previews.table(wrong[:_LISTED]))} if wrong else {"counters": len(truth)},
    )


@dg.multi_asset_check(
    name="vectors_coverage",
    specs=[
        dg.AssetCheckSpec(
            "every_adapter_has_a_vector",
            asset=vector_key(space),
            description="Every adapter has a vector that was computed from what the adapter now says.",
        )
        for space in SPACE_NAMES
    ],
)
def vectors_coverage(warehouse: dg.ResourceParam[Warehouse]) -> Iterator[dg.AssetCheckResult]:
    """Coverage of each space."""
    with warehouse.database.read() as connection:
        coverage = figures.coverage(connection, SPACE_NAMES)
    for space, (with_vector, total) in coverage.items():
        yield dg.AssetCheckResult(
            asset_key=vector_key(space),
            check_name="every_adapter_has_a_vector",
            passed=with_vector == total,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"{with_vector:,} of {total:,} adapters have a current vector.",
            metadata={"coverage": with_vector / total if total else 1.0, "missing": total - with_vector},
        )


@dg.asset_check(asset=INDEX, description="The published index holds every adapter that has a vector, as it is now.")
def index_current(warehouse: dg.ResourceParam[Warehouse]) -> dg.AssetCheckResult:
    """Compare the current generation with the embeddings."""
    published = current(warehouse.database, warehouse.settings, INDEX.to_user_string())
    with warehouse.database.read() as connection:
        expected = figures.embedding_count(connection)
        later = (
            0
            if published is None
            else figures.embeddings_after(connection, published.manifest["source"]["last_embedding"])
        )
    indexed = 0 if published is None else int(published.manifest["n"])
    return dg.AssetCheckResult(
        passed=indexed == expected and later == 0,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{indexed:,} of {expected:,} adapters with vectors are indexed; {later:,} vectors are newer than "
        "the index and are searched beside it.",
        metadata={"indexed": indexed, "with vectors": expected, "newer vectors": later},
    )


PUBLICATION_CHECKS = [facet_counters_true, vectors_coverage, index_current]
