"""The graph as a golden text: a change of it is read like a change of an API."""

import dagster as dg
import pytest
from syrupy.assertion import SnapshotAssertion

from pipelines.definitions import build_definitions, definitions
from pipelines.keys import SPACE_NAMES
from pipelines.policies import FRESHNESS, ON_DEMAND, OWNERS
from warehouse.contracts import Job, op_name, vectors_config


@pytest.fixture(scope="module")
def defs() -> dg.Definitions:
    return build_definitions()


def _lines(defs: dg.Definitions) -> list[str]:
    graph = defs.resolve_asset_graph()
    lines = []
    for key in sorted(graph.get_all_asset_keys()):
        node = graph.get(key)
        parents = ", ".join(sorted(parent.to_user_string() for parent in node.parent_keys))
        pools = ", ".join(sorted(node.pools or []))
        kinds = ", ".join(sorted(node.kinds))
        lines.append(f"{key.to_user_string()} <- [{parents}] group={node.group_name} kinds=[{kinds}] pools=[{pools}]")
    return lines


def test_definitions_load_and_validate(defs: dg.Definitions) -> None:
    dg.Definitions.validate_loadable(defs)
    assert definitions is not None


def test_a_run_takes_the_adapters_that_the_api_names(defs: dg.Definitions) -> None:
    job = defs.resolve_job_def(Job.REFRESH_VECTORS)
    config = vectors_config(SPACE_NAMES, force=True, adapter_ids=["0190a6f2-0000-7000-8000-000000000000"])
    assert dg.validate_run_config(job, dict(config))
    with pytest.raises(dg.DagsterInvalidConfigError):
        dg.validate_run_config(job, dict(vectors_config(["colour"])))


def test_assets_groups_and_dependencies(defs: dg.Definitions, snapshot: SnapshotAssertion) -> None:
    assert "\n".join(_lines(defs)) == snapshot


def test_checks(defs: dg.Definitions, snapshot: SnapshotAssertion) -> None:
    graph = defs.resolve_asset_graph()
    lines = [
        f"{key.asset_key.to_user_string()}: {key.name}{' (blocking)' if graph.get(key).blocking else ''}"
        for key in sorted(graph.asset_check_keys)
    ]
    assert "\n".join(lines) == snapshot


def test_jobs_sensors_and_schedules(defs: dg.Definitions, snapshot: SnapshotAssertion) -> None:
    repository = defs.get_repository_def()
    lines = [
        f"job {job.name}: {len(job.nodes)} steps" for job in repository.get_all_jobs() if not job.name.startswith("__")
    ]
    lines += [
        f"sensor {sensor.name} every {sensor.minimum_interval_seconds} s, {sensor.default_status.value}"
        for sensor in repository.sensor_defs
    ]
    lines += [
        f"schedule {schedule.name} at {schedule.cron_schedule}, {schedule.default_status.value}"
        for schedule in repository.schedule_defs
    ]
    assert "\n".join(sorted(lines)) == snapshot


def test_every_asset_says_what_it_is_and_whose(defs: dg.Definitions) -> None:
    for spec in defs.resolve_all_asset_specs():
        assert len(spec.description or "") > 30, spec.key
        assert spec.owners == OWNERS[spec.group_name or ""], spec.key
        assert (spec.freshness_policy == FRESHNESS) is (spec.group_name not in ON_DEMAND), spec.key
        assert spec.kinds, spec.key
        assert spec.code_version, spec.key


def test_every_check_job_sensor_and_schedule_says_what_it_is_for(defs: dg.Definitions) -> None:
    repository = defs.get_repository_def()
    things = [
        *(job for job in repository.get_all_jobs() if not job.name.startswith("__")),
        *repository.sensor_defs,
        *repository.schedule_defs,
        *(defs.resolve_asset_graph().get_check_spec(key) for key in defs.resolve_asset_graph().asset_check_keys),
    ]
    assert not [thing.name for thing in things if not thing.description]


def test_the_contract_names_every_job(defs: dg.Definitions) -> None:
    named = {job.name for job in defs.get_repository_def().get_all_jobs() if not job.name.startswith("__")}
    assert named == set(Job.ALL)


def test_run_configuration_of_the_contract_names_real_ops(defs: dg.Definitions) -> None:
    job = defs.resolve_job_def(Job.SYNC_LIBRARY)
    names = {node.name for node in job.nodes}
    assert op_name(("library", "files")) in names
    assert op_name(("vectors", "semantic")) in names


def test_configuration_explains_every_field(defs: dg.Definitions) -> None:
    for name in ("library__files", "vectors__semantic"):
        node = defs.resolve_job_def(Job.SYNC_LIBRARY).graph.node_named(name)
        fields = node.definition.config_schema.config_type.fields  # type: ignore[union-attr]
        assert fields
        assert not [field for field, schema in fields.items() if len(schema.description or "") < 20]
