"""What the page of the tuned encoder shows, and that not winning is no failure."""

from typing import Any

import dagster as dg
import pytest

from pipelines.assets import encoders
from pipelines.resources import Warehouse
from tests.pipelines.conftest import Synced
from warehouse.engine import Database
from warehouse.evaluation.metrics import Measure
from warehouse.evaluation.questions import Variant
from warehouse.evaluation.rankers import OURS
from warehouse.tuning import Comparison, Outcome, Plan
from warehouse.tuning.training import Trained


def _outcome(gain: float) -> Outcome:
    measure = Measure(gain, gain, gain)
    recalls = {OURS: {Variant.WRITTEN: Measure(0.5 + gain, 0.4, 0.8)}}
    comparison = Comparison(
        300, 1_000, {OURS: {Variant.WRITTEN: Measure(0.5, 0.4, 0.6)}}, recalls, measure, measure, (1, 1)
    )
    return Outcome(None, is_new=gain > 0, examples=2_000, trained=Trained(60, 9.0, 2.0, 1.0), comparison=comparison)


def _materialize(
    database: Database, synced: Synced, config: dict[str, Any] | None = None, *, raises: bool = True
) -> dg.ExecuteInProcessResult:
    warehouse = dg.ResourceDefinition.hardcoded_resource(Warehouse(database, synced.settings))
    run_config = {"ops": {"encoders__prompts": {"config": config or {}}}}
    return dg.materialize(
        encoders.ENCODERS, resources={"warehouse": warehouse}, run_config=run_config, raise_on_error=raises
    )


@pytest.mark.parametrize("gain", [0.1, -0.1])
def test_a_tuning_shows_what_it_won_or_that_it_did_not(
    synced_copy: Database, synced: Synced, monkeypatch: pytest.MonkeyPatch, gain: float
) -> None:
    asked: list[Plan] = []
    monkeypatch.setattr(encoders, "tune", lambda _database, _settings, plan, **_: asked.append(plan) or _outcome(gain))
    result = _materialize(synced_copy, synced, {"epochs": 3.0, "minutes": 5.0})
    assert (asked[0].epochs, asked[0].minutes, asked[0].batch) == (3.0, 5.0, Plan().batch)
    [evaluation] = result.get_asset_check_evaluations()
    assert evaluation.passed is (gain > 0)
    assert evaluation.severity is dg.AssetCheckSeverity.WARN
    assert ("not published" in (evaluation.description or "")) is (gain < 0)
    [event] = result.asset_materializations_for_node("encoders__prompts")
    assert event.metadata["rows"].value == 2_000
    assert event.metadata["changed"].value == int(gain > 0)
    assert f"{0.5 + gain:.1f}" in str(event.metadata["preview"].value)


def test_a_library_with_too_few_prompts_is_told_so(synced_copy: Database, synced: Synced) -> None:
    result = _materialize(synced_copy, synced, raises=False)
    assert not result.success
    [failure] = [event for event in result.all_events if event.is_step_failure]
    assert "example prompts to learn from" in failure.step_failure_data.error.message


def test_a_plan_that_makes_no_sense_is_refused(synced_copy: Database, synced: Synced) -> None:
    with pytest.raises(dg.DagsterInvalidConfigError):
        _materialize(synced_copy, synced, {"epochs": "many"})
    assert not _materialize(synced_copy, synced, {"batch": 1}, raises=False).success
