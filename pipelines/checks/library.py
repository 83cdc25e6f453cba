"""Checks about users' files. They warn, and name what is to be looked at; a bad file never stops the good ones."""

from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg

from pipelines import figures, previews
from pipelines.keys import DOCUMENTS, INSPECTIONS, LIBRARY_FILES
from pipelines.resources import Warehouse
from warehouse.models import Document

_LISTED = 200
_WIDEST = 1_000
"""Characters: a path or a reason that is cut helps nobody."""

QUARANTINED_SHARE = 0.2
"""More than one document in five that cannot be used is no bad luck: a format that changed, or a wrong folder."""


def _warning(count: int, rows: Sequence[Mapping[str, Any]], good: str, bad: str) -> dg.AssetCheckResult:
    metadata: dict[str, Any] = {"count": count}
    if count:
        metadata["list"] = dg.MetadataValue.md(previews.table(rows, widest=_WIDEST))
    return dg.AssetCheckResult(
        passed=count == 0,
        severity=dg.AssetCheckSeverity.WARN,
        description=good if count == 0 else bad,
        metadata=metadata,
    )


@dg.asset_check(asset=LIBRARY_FILES, description="Every file that is there can be read.")
def files_readable(warehouse: dg.ResourceParam[Warehouse]) -> dg.AssetCheckResult:
    """Files and documents in state `unreadable`."""
    with warehouse.database.read() as connection:
        rows = figures.unreadable_paths(connection, _LISTED)
    bad = f"Files that cannot be read: {len(rows):,}. Give this user the permission to, and sync again."
    return _warning(len(rows), rows, "Every file can be read.", bad)


@dg.asset_check(asset=DOCUMENTS, description="Every document could be used; the others are listed with the reason.")
def documents_usable(warehouse: dg.ResourceParam[Warehouse]) -> dg.AssetCheckResult:
    """Quarantined documents."""
    with warehouse.database.read() as connection:
        verdicts = figures.counts(connection, Document.verdict, Document.state == "present")
        rows = figures.quarantined(connection, _LISTED)
    count = verdicts.get("quarantined", 0)
    return _warning(
        count, rows, "Every document could be used.", f"Quarantined documents: {count:,}. Mend or remove them."
    )


@dg.asset_check(asset=DOCUMENTS, description=f"At most {QUARANTINED_SHARE:.0%} of the documents are quarantined.")
def quarantined_share(warehouse: dg.ResourceParam[Warehouse]) -> dg.AssetCheckResult:
    """The share of documents that could not be used."""
    with warehouse.database.read() as connection:
        verdicts = figures.counts(connection, Document.verdict, Document.state == "present")
    total = sum(verdicts.values())
    share = verdicts.get("quarantined", 0) / total if total else 0.0
    return dg.AssetCheckResult(
        passed=share <= QUARANTINED_SHARE,
        description=f"{share:.1%} of {total:,} documents are quarantined; the limit is {QUARANTINED_SHARE:.0%}. "
        "Above it, look for a format that changed or a folder that is no library.",
        metadata={"share": share, "limit": QUARANTINED_SHARE},
    )


@dg.asset_check(asset=INSPECTIONS, description="Every weight file is whole and is what its suffix says.")
def weights_valid(warehouse: dg.ResourceParam[Warehouse]) -> dg.AssetCheckResult:
    """Present files whose inspection failed."""
    with warehouse.database.read() as connection:
        count = figures.invalid_weight_count(connection)
        rows = figures.invalid_weights(connection, _LISTED)
    return _warning(count, rows, "Every weight file is whole.", f"Broken weight files: {count:,}. Fetch them again.")


@dg.asset_check(asset=INSPECTIONS, description="No weights lie in the library twice.")
def weights_unique(warehouse: dg.ResourceParam[Warehouse]) -> dg.AssetCheckResult:
    """Groups of the same file, or the same weights under another header."""
    with warehouse.database.read() as connection:
        groups = figures.duplicate_groups(connection)
        rows = figures.duplicate_weights(connection, _LISTED)
    count = groups.get("same_file", 0) + groups.get("same_weights", 0)
    return _warning(
        count,
        rows,
        "No weights lie here twice.",
        f"Groups of adapters with the same weights: {count:,}. Keep one of each.",
    )


LIBRARY_CHECKS = [files_readable, documents_usable, quarantined_share, weights_valid, weights_unique]
