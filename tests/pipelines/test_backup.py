"""The daily backup: made where somebody said where to, and old ones go."""

import dagster as dg
import pytest

from pipelines.jobs.backup import back_up
from pipelines.resources import Warehouse
from pipelines.schedules import daily_back_up
from warehouse.backup.archive import check
from warehouse.backup.retention import backups
from warehouse.contracts import Tag, Trigger
from warehouse.engine import Database
from warehouse.settings import Settings


def _tick(database: Database, settings: Settings) -> dg.RunRequest | dg.SkipReason:
    context = dg.build_schedule_context(resources={"warehouse": Warehouse(database, settings)})
    ticked = daily_back_up(context)
    assert isinstance(ticked, dg.RunRequest | dg.SkipReason)
    return ticked


def _run(database: Database, settings: Settings) -> dg.ExecuteInProcessResult:
    resource = dg.ResourceDefinition.hardcoded_resource(Warehouse(database, settings))
    definitions = dg.Definitions(jobs=[back_up], resources={"warehouse": resource})
    return definitions.resolve_job_def("back_up").execute_in_process(raise_on_error=False)


def test_it_is_off_until_a_folder_is_named(sqlite_database: Database, settings: Settings) -> None:
    skipped = _tick(sqlite_database, settings)
    assert isinstance(skipped, dg.SkipReason)
    assert "LORA_MANAGER_BACKUP_DIR" in (skipped.skip_message or "")
    assert not _run(sqlite_database, settings).success
    chosen = settings.model_copy(update={"backup_dir": settings.data_dir / "backups"})
    request = _tick(sqlite_database, chosen)
    assert isinstance(request, dg.RunRequest)
    assert request.tags[Tag.TRIGGER] == Trigger.SCHEDULE


def test_the_newest_are_kept(sqlite_database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = settings.data_dir / "backups"
    chosen = settings.model_copy(update={"backup_dir": folder, "backup_keep": 2})
    made = []
    for day in (1, 2, 3):
        # Names are seconds, which a test does not wait for.
        monkeypatch.setattr(
            "warehouse.backup.making.backup_name", lambda day=day: f"lora-manager-2026010{day}T000000Z.tar"
        )
        result = _run(sqlite_database, chosen)
        assert result.success
        made.append(result.output_for_node("write_backup"))
    assert [str(path) for path in backups(folder)] == made[1:]
    assert check(backups(folder)[-1]).manifest.rows > 0


def test_old_ones_stay_where_none_is_made(
    sqlite_database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = settings.data_dir / "backups"
    chosen = settings.model_copy(update={"backup_dir": folder, "backup_keep": 1})
    monkeypatch.setattr("warehouse.backup.making.backup_name", lambda: "lora-manager-20260101T000000Z.tar")
    assert _run(sqlite_database, chosen).success
    # The name is taken: nothing is written, so nothing is deleted.
    assert not _run(sqlite_database, chosen).success
    assert [path.name for path in folder.iterdir()] == ["lora-manager-20260101T000000Z.tar"]
