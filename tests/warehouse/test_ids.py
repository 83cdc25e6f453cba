import time
import uuid

from warehouse.ids import new_id


def test_ids_are_uuids_of_version_7_in_order_of_birth() -> None:
    first = new_id()
    time.sleep(0.002)
    second = new_id()
    assert uuid.UUID(first).version == 7
    assert uuid.UUID(first).variant == uuid.RFC_4122
    assert first < second
    assert len({new_id() for _ in range(10_000)}) == 10_000
