"""The policies of the graph, each once: retries, pools, freshness, owners. `definitions` lays them over the assets.

Does not belong here: what an asset does. Pools and retries belong to the function behind an asset, so the decorators
take them from here; freshness and owners belong to its specification and are mapped over selections.
"""

from datetime import timedelta

import dagster as dg

WAREHOUSE_POOL = "warehouse"
"""One run at a time writes tables: SQLite has one writer, and two syncs would do the same work twice."""

GPU_POOL = "gpu"
"""One run at a time computes vectors; its limit is the number of accelerators of the host."""

RETRY = dg.RetryPolicy(max_retries=2, delay=2, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS)
"""For what passes by itself: a database that restarts, a file system that hangs. `stages` says what is retried."""

LAST = {"dagster/priority": "-1"}
"""Marts are ready as soon as the catalog is, yet wait until vectors and index are done, so that they show this run's
coverage. An edge would say the same, but then a missing embedding model would take the dashboards down with it."""

FRESHNESS = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=50), warn_window=timedelta(hours=26))
"""The nightly rescan materialises what it selects: one missed night warns, two fail."""

ON_DEMAND = frozenset({"encoders", "evaluation"})
"""Groups that are made when somebody wants it, and are never late."""

OWNERS = {
    "library": ["team:ingest"],
    "catalog": ["team:ingest"],
    "encoders": ["team:recommendations"],
    "vectors": ["team:recommendations"],
    "indices": ["team:recommendations"],
    "evaluation": ["team:recommendations"],
    "use": ["team:recommendations"],
    "marts": ["team:analytics"],
}
"""Owner by group."""


def apply_policies(spec: dg.AssetSpec) -> dg.AssetSpec:
    """An asset with the owners of its group and, where it is made by itself, the freshness policy."""
    owned = spec.replace_attributes(owners=OWNERS[spec.group_name or ""])
    return owned if spec.group_name in ON_DEMAND else owned.replace_attributes(freshness_policy=FRESHNESS)
