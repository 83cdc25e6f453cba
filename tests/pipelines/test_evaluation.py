"""The evaluation as an operator starts it: a table, figures that Dagster draws, and a check that can fail."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from pipelines.assets import evaluation
from pipelines.definitions import build_definitions
from pipelines.keys import EVALUATION
from pipelines.resources import warehouse_resource
from tests.pipelines.conftest import Synced, settings_in
from warehouse import migrations
from warehouse.contracts import Job, op_name
from warehouse.engine import open_database
from warehouse.evaluation.evaluating import Report, evaluate
from warehouse.evaluation.questions import Variant
from warehouse.evaluation.rankers import BASELINES, OURS
from warehouse.settings import Settings

CONFIG = {"queries": 20, "part": "ALL"}


def _run(settings: Settings) -> dg.ExecuteInProcessResult:
    job = build_definitions(warehouse_resource(settings)).resolve_job_def(Job.EVALUATE)
    return job.execute_in_process(
        run_config={"ops": {op_name(tuple(EVALUATION.path)): {"config": CONFIG}}}, raise_on_error=False
    )


def test_it_shows_every_way_to_answer_and_checks_that_ours_leads(synced: Synced) -> None:
    result = _run(synced.settings)
    assert result.success
    (materialization,) = result.asset_materializations_for_node(op_name(tuple(EVALUATION.path)))
    metadata = materialization.metadata
    queries = metadata["rows"].value
    assert isinstance(queries, int)
    assert 0 < queries <= 20
    recall = metadata["recall@10"].value
    assert isinstance(recall, float)
    assert 0 < recall <= 1
    table = str(metadata["preview"].value)
    assert all(way in table for way in (OURS, *BASELINES))
    (check,) = result.get_asset_check_evaluations()
    assert check.check_name == evaluation.LEADS_CHECK
    assert check.metadata["recall@10"].value == recall


def test_a_baseline_that_finds_more_fails_the_check(synced: Synced, monkeypatch: pytest.MonkeyPatch) -> None:
    def misled(*given: Any, **named: Any) -> Report:
        report = evaluate(*given, **named)
        return replace(report, figures={**report.figures, OURS: _nothing_found(report)})

    monkeypatch.setattr(evaluation, "evaluate", misled)
    result = _run(synced.settings)
    assert result.success
    (check,) = result.get_asset_check_evaluations()
    assert not check.passed
    assert check.severity is dg.AssetCheckSeverity.WARN
    assert f"{BASELINES[2]} ({Variant.WRITTEN})" in (check.description or "")


def _nothing_found(report: Report) -> dict[Variant, Any]:
    return {
        variant: replace(figures, recall_at_10=replace(figures.recall_at_10, value=0.0))
        for variant, figures in report.figures[OURS].items()
    }


def test_a_library_without_prompts_is_told_what_to_do(tmp_path: Path, models_dir: Path) -> None:
    settings = settings_in(tmp_path / "data", models=models_dir)
    database = open_database(settings)
    migrations.upgrade(database)
    database.dispose()
    result = _run(settings)
    assert not result.success
    failures = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert "Ingest documents that have them" in str(failures)
