"""The instance's configuration: written where it must be, left alone where it is somebody's own."""

import stat
from pathlib import Path

import dagster as dg
import pytest

import pipelines.instance
from pipelines.instance import open_instance, prepare_home, render
from warehouse.backends import plugins
from warehouse.contracts import Tag
from warehouse.settings import Settings


def test_home_is_made_with_a_configuration_only_its_owner_may_read(settings: Settings) -> None:
    path = prepare_home(settings) / "dagster.yaml"
    assert path.read_text() == render(settings)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [child.name for child in path.parent.iterdir()] == ["dagster.yaml"]


def test_the_password_of_the_database_stands_where_dagster_does_not_show_it(tmp_path: Path) -> None:
    url = r"postgresql://user:a%3Ab%5Cc@host/name"
    settings = Settings(_env_file=None, data_dir=tmp_path, database_url=url)  # type: ignore[call-arg]
    settings.dagster_home.mkdir()
    pipelines.instance._write_password(settings)
    file = settings.dagster_home / "pgpass"
    assert file.read_text() == "*:*:*:*:a\\:b\\\\c\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert str(file) in render(settings)
    assert "a:b" not in render(settings)
    pipelines.instance._write_password(settings.model_copy(update={"database_url": "postgresql://user@host/name"}))
    assert not file.exists()


def test_outdated_configuration_is_written_anew(settings: Settings) -> None:
    path = prepare_home(settings) / "dagster.yaml"
    path.write_text(render(settings).replace('"max_retries": 1', '"max_retries": 7'))
    prepare_home(settings)
    assert path.read_text() == render(settings)


def test_configuration_of_the_operator_is_kept(settings: Settings) -> None:
    path = prepare_home(settings) / "dagster.yaml"
    path.write_text("telemetry: {enabled: false}\n")
    prepare_home(settings)
    assert path.read_text() == "telemetry: {enabled: false}\n"


def test_instance_opens_with_pools_by_run_and_freshness(settings: Settings) -> None:
    with open_instance(settings) as instance:
        assert instance.is_persistent
        pools = instance.get_concurrency_config().pool_config
        assert (pools.default_pool_limit, str(pools.pool_granularity)) == (1, "PoolGranularity.RUN")
        queue = instance.get_concurrency_config().run_queue_config
        assert queue is not None
        assert queue.max_concurrent_runs == 4 + len(plugins())
        assert [limit["key"] for limit in queue.tag_concurrency_limits] == [Tag.LANE]
        assert not instance.telemetry_enabled
        assert instance.run_monitoring_enabled


@dg.op
def nothing() -> None: ...


@dg.job
def idle() -> None:
    nothing()


def test_instance_and_warehouse_share_one_postgresql_database(
    postgresql_server: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    from tests.databases import scratch_postgresql
    from warehouse import migrations
    from warehouse.engine import open_database

    url = scratch_postgresql(postgresql_server)
    settings = Settings(_env_file=None, data_dir=tmp_path, database_url=url)  # type: ignore[call-arg]
    with open_instance(settings) as instance:
        result = idle.execute_in_process(instance=instance)
        run = instance.get_run_by_id(result.run_id)
        assert run is not None
        assert run.status is dg.DagsterRunStatus.SUCCESS
    database = open_database(settings)
    migrations.upgrade(database)
    migrations.require_head(database)
    database.dispose()
