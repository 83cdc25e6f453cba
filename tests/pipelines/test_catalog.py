"""What the stages of the catalog say of themselves."""

from pathlib import Path

import dagster as dg

from pipelines.assets.catalog import adapters, documents
from pipelines.keys import ADAPTERS
from pipelines.resources import Warehouse
from warehouse.contracts import Metadata
from warehouse.engine import Database
from warehouse.ingest import scan_library
from warehouse.samples import generate_documents
from warehouse.settings import Settings


def _counts(warehouse: Warehouse, instance: dg.DagsterInstance) -> tuple[int, int, int]:
    """Rows, changed and skipped of `catalog/adapters`."""
    resource = dg.ResourceDefinition.hardcoded_resource(warehouse)
    result = dg.materialize([documents, adapters], resources={"warehouse": resource}, instance=instance)
    event = instance.get_latest_materialization_event(ADAPTERS)
    assert event is not None
    assert event.run_id == result.run_id
    assert event.asset_materialization is not None
    metadata = event.asset_materialization.metadata
    rows, changed, skipped = (metadata[key].value for key in (Metadata.ROWS, Metadata.CHANGED, Metadata.SKIPPED))
    assert isinstance(rows, int)
    assert isinstance(changed, int)
    assert isinstance(skipped, int)
    return rows, changed, skipped


def test_adapters_derived_with_their_documents_count_as_changed_adapters(
    sqlite_database: Database, settings: Settings, tmp_path: Path
) -> None:
    generate_documents(tmp_path / "library", documents=12)
    scan_library(sqlite_database, settings, [tmp_path / "library"])
    warehouse = Warehouse(sqlite_database, settings)
    with dg.DagsterInstance.ephemeral() as instance:
        rows, changed, skipped = _counts(warehouse, instance)
        assert rows >= 12
        assert (changed, skipped) == (rows, 0)
        assert _counts(warehouse, instance) == (rows, 0, rows)
