"""Files that moved in a way only their content tells: the adapter of the lost file becomes that of the found one.

Belongs here: what follows from equal SHA-256. Does not: moves that size, time and name tell (`staging`).
"""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from sqlalchemy import Connection, delete, select, update
from sqlalchemy.orm import aliased

from warehouse import facets
from warehouse.facets import COLUMN_FACETS, FacetKey
from warehouse.ingest import userstate
from warehouse.ingest.deriving import FILE_KEY
from warehouse.models import Adapter, AdapterTag, Bundle, File


def inherit(connection: Connection, file_pks: Iterable[int]) -> int:
    """Let newly hashed files take the place of files of the same bytes that were lost before they appeared.

    Returns how many did. Copies that exist side by side are several files and stay so.
    """
    found, lost = aliased(File), aliased(File)
    pairs = connection.execute(
        select(found.pk, found.path, found.bundle_pk, lost.pk, lost.path, lost.bundle_pk)
        .join(lost, (lost.sha256 == found.sha256) & (lost.pk != found.pk))
        .where(
            found.pk.in_(list(file_pks)),
            found.state == "present",
            lost.state == "missing",
            lost.missing_since <= found.first_seen_at,
        )
        .order_by(lost.path, found.path)
    ).all()
    heirs: set[int] = set()
    spent: set[int] = set()
    difference: Counter[FacetKey] = Counter()
    for found_pk, found_path, found_bundle, lost_pk, lost_path, lost_bundle in pairs:
        if found_pk in heirs or lost_pk in spent:
            continue
        heirs.add(found_pk)
        spent.add(lost_pk)
        old_key, new_key = f"{FILE_KEY}{lost_path}", f"{FILE_KEY}{found_path}"
        difference.update(_hand_over(connection, old_key, new_key, found_pk, found_bundle))
        connection.execute(update(Adapter).where(Adapter.file_pk == lost_pk).values(file_pk=found_pk))
        connection.execute(delete(File).where(File.pk == lost_pk))
        connection.execute(
            update(Bundle).where(Bundle.pk.in_([found_bundle, lost_bundle])).values(revision=Bundle.revision + 1)
        )
    facets.apply(connection, difference)
    return len(heirs)


def _hand_over(connection: Connection, old_key: str, new_key: str, file_pk: int, bundle_pk: int) -> Counter[FacetKey]:
    """Give the adapter of a lost file the found one; returns how the counters change."""
    columns = [getattr(Adapter, name) for name in COLUMN_FACETS]
    rows = {
        row.source_key: row
        for row in connection.execute(
            select(Adapter.pk, Adapter.source_key, Adapter.json_file_path, *columns).where(
                Adapter.source_key.in_([old_key, new_key])
            )
        )
    }
    old, new = rows.get(old_key), rows.get(new_key)
    difference: Counter[FacetKey] = Counter()
    if old is None:
        return difference
    found: dict[str, Any] = {}
    if new is not None:
        # The document that was found for it stays known until it is derived anew.
        found = {"json_file_path": new.json_file_path}
        difference.update(userstate.carry_over(connection, old.pk, [new.pk]))
        tags = connection.execute(select(AdapterTag.tag).where(AdapterTag.adapter_pk == new.pk)).scalars().all()
        difference.subtract(facets.keys_of(dict(new._mapping), tags))
        connection.execute(delete(Adapter).where(Adapter.pk == new.pk))
    connection.execute(
        update(Adapter)
        .where(Adapter.pk == old.pk)
        .values(source_key=new_key, file_pk=file_pk, bundle_pk=bundle_pk, derived_digest=None, **found)
    )
    return difference
