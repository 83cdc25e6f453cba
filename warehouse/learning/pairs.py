"""Which adapters are used together, and how often: pairs of those that were in one delivered or generated prompt.

A use is counted once: `adapter_uses.counted_at` is the watermark, set in the transaction that counts it. Each pair is
two rows with the same count, one for either adapter, so that the partners of one are a range of the primary key. An
adapter keeps `PARTNERS` of them: the most used, and the latest, among which a new one has time to become much used. A
pair that one of the two drops is dropped for both, and counts from 1 again when it comes back.
"""

import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import combinations
from typing import Any, Final

from sqlalchemy import Connection, delete, func, select, tuple_, update

from warehouse.dialects import insert_or
from warehouse.engine import Database
from warehouse.ingest.report import StageReport
from warehouse.models import Adapter, AdapterPair, AdapterUse, utc_now
from warehouse.settings import Settings

_MOST_USED: Final = 48
_LATEST: Final = 16
PARTNERS: Final = _MOST_USED + _LATEST
"""Of one adapter that are kept, at most."""
LARGEST_STACK: Final = 32
"""Adapters of one prompt; a larger one is a slip, and tells nothing of which of them go together."""
_CHUNK: Final = 500
"""Uses in one transaction; a prompt's are never torn apart."""


@dataclass(frozen=True, slots=True)
class _Counted:
    """What one transaction did."""

    uses: int
    pairs: int
    forgotten: int


def count_pairs(database: Database, settings: Settings) -> StageReport:
    """Count the uses that are not counted yet, unless nothing is to be learned; each chunk is committed, so that a kill
    loses nothing."""
    started = time.perf_counter()
    uses = pairs = forgotten = 0
    while settings.learn_from_use:
        counted = database.transact(_count_some)
        uses, pairs, forgotten = uses + counted.uses, pairs + counted.pairs, forgotten + counted.forgotten
        if not counted.uses:
            break
    with database.read() as connection:
        kept = connection.execute(select(func.count()).select_from(AdapterPair)).scalar_one() // 2
    return StageReport(
        rows=kept,
        changed=pairs,
        skipped=max(kept - pairs, 0),
        rejected=0,
        seconds=time.perf_counter() - started,
        details={"uses": uses, "forgotten": forgotten},
    )


def pairs_due(connection: Connection, settings: Settings) -> bool:
    """Whether any use is to be counted."""
    if not settings.learn_from_use:
        return False
    return connection.execute(select(AdapterUse.pk).where(AdapterUse.counted_at.is_(None)).limit(1)).first() is not None


def partners_of(connection: Connection, adapter_pk: int) -> dict[int, int]:
    """How often an adapter was used together with each of its partners, by their numbers; at most `PARTNERS`."""
    statement = (
        select(AdapterPair.other_pk, AdapterPair.uses)
        .where(AdapterPair.adapter_pk == adapter_pk)
        .order_by(AdapterPair.other_pk)
    )
    return dict(connection.execute(statement).all())


def _count_some(connection: Connection) -> _Counted:
    due = select(AdapterUse.job_id).where(AdapterUse.counted_at.is_(None)).order_by(AdapterUse.pk).limit(_CHUNK)
    jobs = list(dict.fromkeys(connection.execute(due).scalars()))
    # Whoever else counts waits here, and then finds these counted.
    rows = connection.execute(
        select(AdapterUse.pk, AdapterUse.job_id, AdapterUse.adapter_id, AdapterUse.used_at)
        .where(AdapterUse.job_id.in_(jobs), AdapterUse.counted_at.is_(None))
        .order_by(AdapterUse.pk)
        .with_for_update()
    ).all()
    if not rows:
        return _Counted(0, 0, 0)
    numbers = _numbers(connection, {row.adapter_id for row in rows} - {None})
    stacks: dict[str, set[int]] = {}
    moments: dict[str, datetime] = {}
    for row in rows:
        moments[row.job_id] = max(row.used_at, moments.get(row.job_id, row.used_at))
        if row.adapter_id in numbers:
            stacks.setdefault(row.job_id, set()).add(numbers[row.adapter_id])
    pairs = _tally(stacks, moments)
    _add(connection, pairs)
    forgotten = _forget(connection, {pk for pair in pairs for pk in pair})
    connection.execute(
        update(AdapterUse).where(AdapterUse.pk.in_([row.pk for row in rows])).values(counted_at=utc_now())
    )
    return _Counted(len(rows), len(pairs), forgotten)


def _numbers(connection: Connection, ids: Iterable[str]) -> dict[str, int]:
    """The numbers of adapters that are there. The lock keeps them from being deleted until the commit."""
    statement = select(Adapter.id, Adapter.pk).where(Adapter.id.in_(sorted(ids))).order_by(Adapter.pk)
    return dict(connection.execute(statement.with_for_update(read=True, key_share=True)).all())


def _tally(
    stacks: Mapping[str, set[int]], moments: Mapping[str, datetime]
) -> dict[tuple[int, int], tuple[int, datetime]]:
    """How often each pair is in the stacks, and when last; the smaller number first."""
    counts: Counter[tuple[int, int]] = Counter()
    last: dict[tuple[int, int], datetime] = {}
    for job_id, stack in stacks.items():
        if len(stack) <= LARGEST_STACK:
            for pair in combinations(sorted(stack), 2):
                counts[pair] += 1
                last[pair] = max(moments[job_id], last.get(pair, moments[job_id]))
    return {pair: (count, last[pair]) for pair, count in counts.items()}


def _add(connection: Connection, pairs: Mapping[tuple[int, int], tuple[int, datetime]]) -> None:
    rows = [
        {"adapter_pk": one, "other_pk": other, "uses": count, "last_used_at": moment}
        for pair, (count, moment) in pairs.items()
        for one, other in (pair, pair[::-1])
    ]
    if not rows:
        return
    statement = insert_or(connection, AdapterPair)
    stored = AdapterPair.__table__.c
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=["adapter_pk", "other_pk"],
            set_={"uses": stored.uses + statement.excluded.uses, "last_used_at": statement.excluded.last_used_at},
        ),
        # In order, so that two writers cannot wait for each other.
        sorted(rows, key=lambda row: (row["adapter_pk"], row["other_pk"])),
    )


def _forget(connection: Connection, pks: Iterable[int]) -> int:
    """Drop pairs of adapters that have more than `PARTNERS`; how many pairs."""
    ordered = sorted(pks)
    dropped: list[tuple[int, int]] = []
    for start in range(0, len(ordered), _CHUNK):
        dropped += _beyond(connection, ordered[start : start + _CHUNK])
    both: set[tuple[Any, ...]] = {direction for pair in dropped for direction in (pair, pair[::-1])}
    listed = sorted(both)
    for start in range(0, len(listed), _CHUNK):
        key = tuple_(AdapterPair.adapter_pk, AdapterPair.other_pk)
        connection.execute(delete(AdapterPair).where(key.in_(listed[start : start + _CHUNK])))
    return len(both) // 2


def _beyond(connection: Connection, pks: Sequence[int]) -> list[tuple[int, int]]:
    pair = AdapterPair
    latest = (pair.last_used_at.desc(), pair.other_pk.desc())
    by_use = func.row_number().over(partition_by=pair.adapter_pk, order_by=(pair.uses.desc(), *latest))
    by_time = func.row_number().over(partition_by=pair.adapter_pk, order_by=latest)
    ranked = (
        select(pair.adapter_pk, pair.other_pk, by_use.label("by_use"), by_time.label("by_time"))
        .where(pair.adapter_pk.in_(pks))
        .subquery()
    )
    statement = select(ranked.c.adapter_pk, ranked.c.other_pk).where(
        ranked.c.by_use > _MOST_USED, ranked.c.by_time > _LATEST
    )
    return [(one, other) for one, other in connection.execute(statement)]
