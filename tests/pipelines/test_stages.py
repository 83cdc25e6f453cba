"""Errors of the warehouse become what Dagster should do about them."""

from collections.abc import Callable

import dagster as dg
import pytest
from sqlalchemy.exc import OperationalError

from pipelines.resources import Warehouse, warehouse_resource
from pipelines.stages import stage
from warehouse.engine import Database
from warehouse.ingest import StorageError
from warehouse.locks import LockHeld
from warehouse.settings import Settings


def _run(
    database: Database, settings: Settings, fail: Callable[[int], None], *, attended: bool, retries: int = 0
) -> tuple[dg.ExecuteInProcessResult, int]:
    attempts = 0

    @dg.asset(retry_policy=dg.RetryPolicy(max_retries=retries))
    def thing(context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]) -> None:
        nonlocal attempts
        attempts += 1
        with stage(context, warehouse):
            fail(attempts)

    resource = dg.ResourceDefinition.hardcoded_resource(Warehouse(database, settings, attended=attended))
    result = dg.materialize([thing], resources={"warehouse": resource}, raise_on_error=False)
    return result, attempts


def test_what_passes_by_itself_is_tried_again(sqlite_database: Database, settings: Settings) -> None:
    def fail(attempt: int) -> None:
        if attempt == 1:
            raise OperationalError("SELECT 1", {}, Exception("server restarted"))

    result, attempts = _run(sqlite_database, settings, fail, attended=False, retries=2)
    assert (result.success, attempts) == (True, 2)


@pytest.mark.parametrize(("may_pass", "tried"), [(True, 2), (False, 1)])
def test_a_library_whose_database_was_away_is_tried_again_and_one_whose_disk_is_full_is_not(
    sqlite_database: Database, settings: Settings, may_pass: bool, tried: int
) -> None:
    def fail(attempt: int) -> None:
        if attempt == 1:
            raise StorageError("the database could not be written", may_pass=may_pass)

    result, attempts = _run(sqlite_database, settings, fail, attended=False, retries=2)
    assert (result.success, attempts) == (may_pass, tried)


def test_what_would_fail_again_is_not_tried_again(sqlite_database: Database, settings: Settings) -> None:
    def fail(_attempt: int) -> None:
        raise ValueError("/nowhere does not exist: check the path")

    result, attempts = _run(sqlite_database, settings, fail, attended=False, retries=2)
    assert (result.success, attempts) == (False, 1)
    failure = next(event for event in result.all_events if event.is_step_failure)
    assert failure.step_failure_data.error is not None
    assert failure.step_failure_data.user_failure_data is not None
    assert failure.step_failure_data.user_failure_data.description == "/nowhere does not exist: check the path"


def test_a_lock_is_waited_for_unless_somebody_waits_at_a_terminal(
    sqlite_database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipelines.stages._LOCK_POLL_SECONDS", 0)

    def held_once(attempt: int) -> None:
        if attempt == 1:
            raise LockHeld("ingest", "host|1|0|token")

    result, attempts = _run(sqlite_database, settings, held_once, attended=False)
    assert (result.success, attempts) == (True, 2)
    result, attempts = _run(sqlite_database, settings, held_once, attended=True)
    assert (result.success, attempts) == (False, 1)


def test_a_run_on_a_wrong_schema_says_what_to_do(settings: Settings) -> None:
    @dg.asset
    def thing(warehouse: dg.ResourceParam[Warehouse]) -> None:
        raise AssertionError

    result = dg.materialize([thing], resources={"warehouse": warehouse_resource(settings)}, raise_on_error=False)
    assert not result.success
    failure = next(event for event in result.all_events if event.is_failure)
    assert "lora-manager upgrade" in str(failure.event_specific_data)
