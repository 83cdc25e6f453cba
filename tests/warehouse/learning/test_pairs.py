"""Which adapters are used together: counted once, the same from both sides, bounded, gone with an adapter."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import delete, event, func, insert, select

from tests.warehouse.queries.library import adapter_values, insert_adapters
from warehouse import learning
from warehouse.engine import Database
from warehouse.ingest.report import StageReport
from warehouse.learning import PARTNERS, count_pairs
from warehouse.learning.pairs import LARGEST_STACK
from warehouse.models import Adapter, AdapterPair, AdapterUse
from warehouse.settings import Settings

START = datetime(2026, 1, 1, tzinfo=UTC)


class Uses:
    """Adapters of a library and what was made with them."""

    def __init__(self, database: Database, adapters: int) -> None:
        rows = [adapter_values(number) for number in range(adapters)]
        self.database = database
        self.pks = insert_adapters(database, rows)
        self.ids = [row["id"] for row in rows]
        self._jobs = 0

    def use(self, *stacks: Iterable[int | None]) -> None:
        """A job for each stack of adapters, by their positions; None is one that the library has not."""
        rows: list[dict[str, Any]] = []
        for stack in stacks:
            self._jobs += 1
            rows += [self._row(position, name) for name, position in enumerate(stack)]
        with self.database.write() as connection:
            connection.execute(insert(AdapterUse), rows)

    def _row(self, position: int | None, name: int) -> dict[str, Any]:
        return {
            "job_id": f"job {self._jobs}",
            "kind": "generation",
            "mode": "sdnext",
            "adapter_id": None if position is None else self.ids[position],
            "name": f"name {name}",
            "weight": 1.0,
            "status": "applied",
            "others": [],
            "used_at": START + timedelta(minutes=self._jobs),
        }

    def learn(self) -> StageReport:
        """Count what is not counted yet."""
        return count_pairs(self.database, Settings(_env_file=None))

    def partners(self, position: int) -> dict[int, int]:
        """By position."""
        with self.database.read() as connection:
            found = learning.partners_of(connection, self.pks[position])
        return {self.pks.index(pk): uses for pk, uses in found.items()}

    def every(self) -> list[tuple[int, int, int]]:
        """All rows."""
        with self.database.read() as connection:
            statement = select(AdapterPair.adapter_pk, AdapterPair.other_pk, AdapterPair.uses)
            return [tuple(row) for row in connection.execute(statement)]


@pytest.fixture
def uses(database: Database) -> Uses:
    return Uses(database, 5)


def test_pairs_are_counted_from_both_sides(uses: Uses) -> None:
    uses.use([0, 1], [0, 1, 2], [3], [0, None], [2, 2])
    report = uses.learn()
    assert uses.partners(0) == {1: 2, 2: 1}
    assert uses.partners(1) == {0: 2, 2: 1}
    assert uses.partners(2) == {0: 1, 1: 1}
    assert uses.partners(3) == {}
    assert (report.rows, report.changed, report.details["uses"]) == (3, 3, 10)


def test_a_use_is_counted_once(uses: Uses) -> None:
    uses.use([0, 1])
    uses.learn()
    assert uses.learn().details["uses"] == 0
    uses.use([1, 0], [1, 2])
    uses.learn()
    assert (uses.partners(0), uses.partners(2)) == ({1: 2}, {1: 1})


def test_it_is_due_while_a_use_is_not_counted(uses: Uses) -> None:
    def is_due() -> bool:
        with uses.database.read() as connection:
            return learning.pairs_due(connection, Settings(_env_file=None))

    assert not is_due()
    uses.use([0, 1])
    assert is_due()
    uses.learn()
    assert not is_due()


def test_nothing_is_learned_where_the_setting_says_so(uses: Uses) -> None:
    uses.use([0, 1])
    off = Settings(_env_file=None, learn_from_use=False)
    count_pairs(uses.database, off)
    assert uses.every() == []
    with uses.database.read() as connection:
        assert not learning.pairs_due(connection, off)
        assert learning.pairs_due(connection, Settings(_env_file=None))


def test_nothing_is_counted_where_the_transaction_fails(uses: Uses) -> None:
    uses.use([0, 1])

    def fail(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("UPDATE adapter_uses"):
            raise RuntimeError("killed")

    event.listen(uses.database.engine, "before_cursor_execute", fail)
    try:
        with pytest.raises(RuntimeError, match="killed"):
            uses.learn()
    finally:
        event.remove(uses.database.engine, "before_cursor_execute", fail)
    assert uses.every() == []
    uses.learn()
    assert uses.partners(0) == {1: 1}


def test_a_deleted_adapter_is_nobody_s_partner(uses: Uses) -> None:
    uses.use([0, 1], [0, 2], [1, 2])
    uses.learn()
    with uses.database.write() as connection:
        connection.execute(delete(Adapter).where(Adapter.pk == uses.pks[0]))
    assert uses.every() == [(uses.pks[1], uses.pks[2], 1), (uses.pks[2], uses.pks[1], 1)]
    uses.use([0, 1])
    uses.learn()
    assert uses.partners(1) == {2: 1}


def test_a_stack_beyond_reason_tells_nothing(database: Database) -> None:
    uses = Uses(database, LARGEST_STACK + 1)
    uses.use(range(LARGEST_STACK + 1))
    uses.learn()
    assert uses.every() == []
    uses.use(range(LARGEST_STACK))
    uses.learn()
    assert len(uses.every()) == LARGEST_STACK * (LARGEST_STACK - 1)


def _pairs_of(hub: int, others: Sequence[int]) -> list[list[int]]:
    return [[hub, other] for other in others]


def test_partners_are_bounded_and_the_much_used_stay(database: Database) -> None:
    uses = Uses(database, PARTNERS + 41)
    favourites = list(range(1, 21))
    uses.use(*_pairs_of(0, favourites), *_pairs_of(0, favourites))
    uses.use(*_pairs_of(0, range(21, PARTNERS + 41)))
    report = uses.learn()
    partners = uses.partners(0)
    assert len(partners) <= PARTNERS
    assert {position: partners[position] for position in favourites} == dict.fromkeys(favourites, 2)
    assert PARTNERS + 40 in partners
    assert 21 not in partners
    assert uses.partners(21) == {}
    assert report.details["forgotten"] == PARTNERS + 40 - len(partners)
    with database.read() as connection:
        assert connection.execute(select(func.count()).select_from(AdapterPair)).scalar_one() == 2 * len(partners)


def test_a_new_partner_has_time_to_become_a_favourite(database: Database) -> None:
    uses = Uses(database, PARTNERS + 10)
    old = range(1, PARTNERS + 5)
    for _ in range(3):
        uses.use(*_pairs_of(0, old))
    uses.learn()
    newcomer = PARTNERS + 6
    for _ in range(5):
        uses.use([0, newcomer])
        uses.learn()
    assert uses.partners(0)[newcomer] == 5
    assert len(uses.partners(0)) <= PARTNERS
