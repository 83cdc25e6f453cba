import time
import uuid

import pytest

from warehouse.ids import canonical, new_id, new_ids


def test_ids_are_uuids_of_version_7_in_order_of_birth() -> None:
    first = new_id()
    time.sleep(0.002)
    second = new_id()
    assert uuid.UUID(first).version == 7
    assert uuid.UUID(first).variant == uuid.RFC_4122
    assert first < second
    assert len({new_id() for _ in range(10_000)}) == 10_000


def test_ids_that_are_made_together_are_in_order_and_each_its_own() -> None:
    before, together, after = new_id(), new_ids(10_000), new_ids(0)
    assert after == []
    assert together == sorted(set(together))
    assert len(together) == 10_000
    assert before[:13] <= together[0][:13]
    assert {(uuid.UUID(one).version, uuid.UUID(one).variant) for one in together} == {(7, uuid.RFC_4122)}
    # Every digit that is not fixed takes all of its values.
    assert [len({one[place] for one in together}) for place in (15, 19, 24, 35)] == [16, 4, 16, 16]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0190A6F2-0000-7000-8000-00000000000A", "0190a6f2-0000-7000-8000-00000000000a"),
        ("0190a6f2-0000-7000-8000-00000000000a\n", None),
        ("0190a6f200007000800000000000000a", None),
        ("", None),
        ("\x00", None),
    ],
)
def test_an_id_has_one_form(text: str, expected: str | None) -> None:
    assert canonical(text) == expected
