"""Batches taken step by step, and the frame around every stage."""

import gc

import pytest

from warehouse.engine import Database
from warehouse.ingest.steps import TOGETHER, Fault, each, together
from warehouse.ingest.work import alone


def test_a_fault_stops_no_other_task_and_passes_later_steps() -> None:
    taken: list[int] = []

    def halve(number: int) -> int:
        taken.append(number)
        return 12 // number

    halved = each(halve, [3, 0, 4])
    assert halved == [4, Fault("ZeroDivisionError: integer division or modulo by zero"), 3]
    assert each(lambda number: number + 1, halved) == [5, halved[1], 4]
    assert taken == [3, 0, 4]


def test_tasks_stay_in_order_and_few_wait_between_steps() -> None:
    tasks = list(range(2 * TOGETHER + 1))
    groups = [list(some) for some in together(tasks)]
    assert [number for some in groups for number in some] == tasks
    assert max(map(len, groups)) == TOGETHER


def test_a_stage_collects_cycles_less_often_only_while_it_works(sqlite_database: Database) -> None:
    before = gc.get_threshold()
    with alone(sqlite_database):
        during = gc.get_threshold()
    assert during[0] > before[0]
    assert gc.get_threshold() == before
    with pytest.raises(LookupError), alone(sqlite_database):
        raise LookupError
    assert gc.get_threshold() == before
