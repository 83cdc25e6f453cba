"""The doctor names what is wrong and what to do, and its exit code says whether anything is."""

import json
from pathlib import Path

from serving.cli.diagnosis import look_at_roots
from tests.serving.cli.conftest import Run
from tests.stores import Store
from warehouse.settings import Settings
from warehouse.storage import StoreUrl


def _checks(run: Run, **environment: str) -> tuple[int, dict[str, dict[str, str]]]:
    answer = run("doctor", "--json", **environment)
    report = json.loads(answer.stdout)
    assert (answer.returncode == 1) == (report["errors"] > 0)
    return answer.returncode, {check["part"]: check for check in report["checks"]}


def test_a_healthy_installation_before_its_first_start(run: Run, tmp_path: Path) -> None:
    code, checks = _checks(run)
    assert code == 0
    assert checks["torch"]["state"] == "ok"
    assert checks["weights of semantic, artistic, technical"]["found"].startswith("all-MiniLM-L6-v2, as published")
    assert checks["device cpu"]["found"].endswith("used for embedding")
    assert checks["database"]["remedy"] == "lora-manager up"
    assert not (tmp_path / "data").exists(), "looking makes nothing"


def test_every_fault_has_its_remedy(run: Run, tmp_path: Path) -> None:
    code, checks = _checks(
        run,
        LORA_MANAGER_LIBRARY_ROOTS=str(tmp_path / "unmounted"),
        LORA_MANAGER_EMBEDDING_MODEL_ARTISTIC="no-such-model",
        LORA_MANAGER_DATABASE_URL="postgresql://ann:hunter2@127.0.0.1:1/x",
        LORA_MANAGER_DEVICE="cuda",
    )
    assert code == 1
    assert checks["library"]["state"] == "error"
    assert "LORA_MANAGER_LIBRARY_ROOTS" in checks["library"]["remedy"]
    assert "LORA_MANAGER_OFFLINE" in checks["weights of artistic"]["found"]
    assert checks["database"]["state"] == "error"
    assert "hunter2" not in json.dumps(checks)
    assert checks["device"]["state"] == "error"


def test_backups_that_are_late_are_told(run: Run, tmp_path: Path) -> None:
    assert run("upgrade").returncode == 0
    folder = tmp_path / "backups"
    _, checks = _checks(run, LORA_MANAGER_BACKUP_DIR=str(folder))
    assert (checks["backups"]["state"], "yet" in checks["backups"]["found"]) == ("warning", True)
    folder.mkdir()
    assert run("backup", str(folder)).returncode == 0
    _, checks = _checks(run, LORA_MANAGER_BACKUP_DIR=str(folder))
    assert checks["backups"]["state"] == "ok"
    (made,) = folder.iterdir()
    made.rename(folder / "lora-manager-20260101T000000Z.tar")
    _, checks = _checks(run, LORA_MANAGER_BACKUP_DIR=str(folder))
    assert (checks["backups"]["state"], "20260101" in checks["backups"]["found"]) == ("warning", True)


def test_what_restorations_leave_is_told(run: Run, tmp_path: Path) -> None:
    assert run("upgrade").returncode == 0
    data, backup = tmp_path / "data", tmp_path / "kept.tar"
    assert run("backup", str(backup)).returncode == 0
    _, checks = _checks(run)
    assert "restorations" not in checks
    assert run("restore", str(backup), "--replace").returncode == 0
    (aside,) = data.glob("before-restore-*")
    code, checks = _checks(run)
    assert (code, checks["restorations"]["state"]) == (0, "ok")
    assert str(aside) in checks["restorations"]["found"]
    (data / ".restoring-20260101T000000Z").mkdir()
    _, checks = _checks(run)
    assert checks["restorations"]["state"] == "warning"
    # As a kill leaves it before the last rename.
    (data / "warehouse.sqlite3").rename(data / ".restoring-20260101T000000Z-warehouse.sqlite3")
    code, checks = _checks(run)
    assert (code, checks["restorations"]["state"]) == (1, "error")
    assert str(aside) in checks["restorations"]["found"]
    assert run("restore", str(backup), "--replace").returncode == 0
    code, checks = _checks(run)
    assert (code, checks["restorations"]["state"]) == (0, "ok")


def test_plain_lines_for_pipes(run: Run) -> None:
    lines = run("doctor").stdout.splitlines()
    assert lines[-1].startswith("0 errors, ")
    assert all(line.startswith(("ok ", "warning ", "error ")) for line in lines[:-1])


def test_it_says_whether_stores_can_be_read(store: Store, settings: Settings) -> None:
    roots = [StoreUrl(store.bucket, "lib"), StoreUrl("never-made")]
    there, absent = look_at_roots(store.settings(settings, library_roots=[str(root) for root in roots]))
    assert (there.state, there.found) == ("ok", f"{store.url('lib')} at {store.wire.url}, can be listed")
    assert absent.state == "error"
    assert "NoSuchBucket" in absent.found
    assert "LORA_MANAGER_LIBRARY_S3_ENDPOINT" in (absent.remedy or "")
    assert {asked.method for asked in store.wire.asked} == {"GET"}
