"""Checks that really fail on a broken library, and name what is broken."""

import sqlite3
from contextlib import closing
from pathlib import Path

import dagster as dg
import pytest
from sqlalchemy import insert, update

from pipelines import checks
from pipelines.assets import lexical, recommend
from pipelines.checks.tables import domain_of, range_of, rules_of
from pipelines.definitions import build_definitions
from pipelines.resources import Warehouse, warehouse_resource
from tests.pipelines.conftest import Synced
from warehouse.engine import Database
from warehouse.evaluation.metrics import Measure
from warehouse.evaluation.spot import SpotCheck
from warehouse.generations import current
from warehouse.models import Base, Embedding, FacetCount
from warehouse.settings import Settings

Evaluations = dict[tuple[str, str], dg.AssetCheckEvaluation]


def _evaluate(database: Database, settings: Settings, only: tuple[str, str] | None = None) -> Evaluations:
    """Every check, or those defined with one (its asset and name), each definition as a step, as the UI would execute
    them."""
    definitions = checks.ALL
    if only is not None:
        key = dg.AssetCheckKey(dg.AssetKey(only[0].split("/")), only[1])
        definitions = [definition for definition in checks.ALL if key in definition.check_keys]
    result = dg.Definitions(
        asset_checks=definitions,
        resources={"warehouse": dg.ResourceDefinition.hardcoded_resource(Warehouse(database, settings))},
        jobs=[dg.define_asset_job("checks", selection=dg.AssetSelection.all_asset_checks())],
        executor=dg.in_process_executor,
    )
    run = result.resolve_job_def("checks").execute_in_process(raise_on_error=False)
    return {
        (evaluation.asset_key.to_user_string(), evaluation.check_name): evaluation
        for evaluation in run.get_asset_check_evaluations()
    }


def _failed(evaluations: Evaluations) -> set[tuple[str, str]]:
    return {key for key, evaluation in evaluations.items() if not evaluation.passed}


def _break(database: Database, statement: str) -> None:
    """Change rows behind the back of the database's own checks."""
    assert database.engine.url.database is not None
    with closing(sqlite3.connect(database.engine.url.database)) as connection:
        assert connection.execute(statement).rowcount > 0
        connection.commit()


def test_every_domain_of_the_tables_is_understood() -> None:
    domains = {
        f"{table.name}.{column.name}": domain
        for table in Base.metadata.sorted_tables
        for column in table.columns
        if (domain := domain_of(column))
    }
    assert domains["adapters.file_state"] == ("present", "invalid", "missing", "remote")
    assert domains["documents.verdict"] == ("accepted", "not_found", "left_out", "quarantined")
    assert domains["hash_claims.kind"] == ("sha256", "blake3", "autov3", "autov2")
    assert domains["embeddings.embedding_type"] == ("semantic", "artistic", "technical")
    assert "activity.kind" not in domains
    assert range_of(Base.metadata.tables["adapters"].c.archetype_confidence) == (0, 1)
    assert range_of(Base.metadata.tables["adapters"].c.rating) == (0, 5)
    assert {rule.column for rule in rules_of(Base.metadata.tables["adapters"]) if rule.check == "required_values"} >= {
        "name",
        "id",
        "content_digest",
    }
    # Who asks without a key has a row as well, under an empty name.
    assert {rule.column for rule in rules_of(Base.metadata.tables["use_profiles"])} == {"seen"}


def test_the_checks_fail_on_the_broken_files_of_the_sample_and_on_nothing_else(
    synced_copy: Database, synced: Synced
) -> None:
    evaluations = _evaluate(synced_copy, synced.settings)
    assert _failed(evaluations) - {("catalog/inspections", "weights_unique")} == {
        ("catalog/documents", "documents_usable"),
        ("catalog/inspections", "weights_valid"),
    }
    evaluation = evaluations["catalog/documents", "documents_usable"]
    assert evaluation.severity is dg.AssetCheckSeverity.WARN
    listed = evaluation.metadata["list"].value
    assert isinstance(listed, str)
    for entry in synced.ran.summary["quarantined"]:
        assert Path(entry["path"]).name.replace("_", "\\_") in listed
        assert entry["code"].replace("_", "\\_") in listed


BREAKS = {
    "too many quarantined": (
        "UPDATE documents SET verdict = 'quarantined'",
        ("catalog/documents", "quarantined_share"),
    ),
    "an unreadable file": (
        "UPDATE files SET state = 'unreadable' WHERE pk = 1",
        ("library/files", "files_readable"),
    ),
    "an unknown state": (
        "UPDATE files SET state = 'elsewhere' WHERE pk = 1",
        ("library/files", "values_in_domain"),
    ),
    "a wrong counter": (
        "UPDATE facet_counts SET count = count + 1 WHERE facet = 'all'",
        ("catalog/adapters", "facet_counters_true"),
    ),
    "an adapter without a name": (
        "UPDATE adapters SET name = '' WHERE pk = 1",
        ("catalog/adapters", "required_values"),
    ),
    "a confidence above one": (
        "UPDATE adapters SET archetype_confidence = 7 WHERE pk = 1",
        ("catalog/adapters", "values_in_domain"),
    ),
    "an orphaned row": (
        "UPDATE adapter_details SET adapter_pk = 99999 WHERE adapter_pk = 1",
        ("catalog/adapters", "references_resolve"),
    ),
    "a vector of another text": (
        "UPDATE embeddings SET content_digest = 'other' WHERE adapter_pk = 1 AND embedding_type = 'semantic'",
        ("vectors/semantic", "every_adapter_has_a_vector"),
    ),
    "a vector of nobody": (
        "UPDATE embeddings SET adapter_pk = 99999 WHERE adapter_pk = 1 AND embedding_type = 'technical'",
        ("vectors/technical", "references_resolve"),
    ),
    "vectors that the index lacks": (
        "UPDATE embeddings SET pk = pk + 100000 WHERE adapter_pk = 1",
        ("indices/recommend", "index_current"),
    ),
}


@pytest.mark.parametrize("name", BREAKS)
def test_a_broken_row_fails_the_check_that_says_so(synced_copy: Database, synced: Synced, name: str) -> None:
    statement, expected = BREAKS[name]
    _break(synced_copy, statement)
    evaluations = _evaluate(synced_copy, synced.settings, expected)
    assert expected in _failed(evaluations)
    assert evaluations[expected].description


def test_every_check_that_a_broken_row_fails_holds_before(synced_copy: Database, synced: Synced) -> None:
    evaluations = _evaluate(synced_copy, synced.settings)
    assert not _failed(evaluations) & {expected for _, expected in BREAKS.values()}


def test_the_checks_hold_on_an_empty_warehouse(sqlite_database: Database, settings: Settings) -> None:
    failed = _failed(_evaluate(sqlite_database, settings))
    assert failed == set()


def test_the_checks_hold_on_both_dialects(database: Database, settings: Settings) -> None:
    with database.write() as connection:
        connection.execute(insert(FacetCount).values(facet="all", value="", count=3))
    assert _failed(_evaluate(database, settings)) == {("catalog/adapters", "facet_counters_true")}


def test_an_index_below_the_floor_fails_its_blocking_check_and_is_not_published(
    synced_copy: Database, synced: Synced
) -> None:
    settings = synced.settings.model_copy(
        # No index can find more than everything, so this floor refuses every one.
        update={"recall_floor": 1.5, "database_url": str(synced_copy.engine.url)}
    )
    before = current(synced_copy, settings, "indices/recommend")
    with synced_copy.write() as connection:
        connection.execute(update(Embedding).values(pk=Embedding.pk + 1_000))
    result = dg.materialize([recommend], resources={"warehouse": warehouse_resource(settings)}, raise_on_error=False)
    assert not result.success
    evaluation = result.get_asset_check_evaluations()[0]
    assert (evaluation.check_name, evaluation.passed, evaluation.blocking) == ("recall_at_10", False, True)
    assert result.get_asset_materialization_events() == []
    after = current(synced_copy, settings, "indices/recommend")
    assert before is not None
    assert after is not None
    assert after.pk == before.pk


def test_a_word_index_that_finds_much_less_fails_its_blocking_check_and_is_not_published(
    synced_copy: Database, synced: Synced, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = synced.settings.model_copy(update={"database_url": str(synced_copy.engine.url)})
    resources = {"warehouse": warehouse_resource(settings)}
    before = current(synced_copy, settings, "indices/lexical")
    assert before is not None
    # The library is small, and the few prompts it has must do.
    monkeypatch.setattr("warehouse.lexical.publishing._TELLING", 1)
    worthless = SpotCheck(Measure(0.1, 0.05, 0.15), before.manifest["quality"]["queries"])
    monkeypatch.setattr("warehouse.lexical.publishing.spot_check", lambda *_: worthless)
    # The same adapters, but none of them as it was indexed.
    _break(synced_copy, "UPDATE adapters SET content_digest = 'f' || substr(content_digest, 2)")
    result = dg.materialize([lexical], resources=resources, raise_on_error=False)
    assert not result.success
    [evaluation] = result.get_asset_check_evaluations()
    assert evaluation.check_name == "prompts_find_their_adapter"
    assert (evaluation.passed, evaluation.blocking) == (False, True)
    after = current(synced_copy, settings, "indices/lexical")
    assert after is not None
    assert after.pk == before.pk
    monkeypatch.undo()
    result = dg.materialize([lexical], resources=resources)
    assert [each.passed for each in result.get_asset_check_evaluations()] == [True]


def test_broken_adapters_stop_what_is_published_from_them(synced_copy: Database, synced: Synced) -> None:
    settings = synced.settings.model_copy(update={"database_url": str(synced_copy.engine.url)})
    _break(synced_copy, "UPDATE adapter_details SET adapter_pk = 99999 WHERE adapter_pk = 1")
    job = build_definitions(warehouse_resource(settings)).resolve_job_def("sync_library")
    result = job.execute_in_process(raise_on_error=False)
    assert not result.success
    made = {event.asset_key.to_user_string() for event in result.get_asset_materialization_events() if event.asset_key}
    assert made == {"library/files", "catalog/documents", "catalog/adapters"}
