import hashlib
from pathlib import Path

from tests.databases import migrated_sqlite
from tests.warehouse.ingest.library import Library, model, version, weights
from warehouse.engine import connect, open_database
from warehouse.ingest import library_signature, plan_sync
from warehouse.settings import Settings


def _tree(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not path.name.endswith(("-wal", "-shm"))
    }


def test_a_dry_run_lists_the_differences_and_writes_nothing(library: Library, tmp_path: Path) -> None:
    library.write("a.safetensors", weights(1))
    library.write("b.json", model(1, version(10)))
    library.write("c.json", model(2, version(20), name="C"))
    library.sync()
    (library.root / "a.safetensors").rename(library.root / "moved.safetensors")
    (library.root / "b.json").unlink()
    library.write("c.json", model(2, version(20), name="Changed"))
    library.write("d.json", model(3, version(30), name="D"))
    tables = {table: library.query(f"SELECT * FROM {table}") for table in ("files", "documents", "bundles", "adapters")}
    before = _tree(tmp_path)
    plan = plan_sync(library.database, library.settings, [library.root])
    found = {(change.change, Path(change.path).name) for change in plan.changes}
    assert found == {("moved", "moved.safetensors"), ("vanished", "b.json"), ("changed", "c.json"), ("new", "d.json")}
    (moved,) = [change for change in plan.changes if change.change == "moved"]
    assert moved.old_path == str(library.root / "a.safetensors")
    assert plan.unchanged == 0
    assert {table: library.query(f"SELECT * FROM {table}") for table in tables} == tables
    assert _tree(tmp_path) == before
    reports = library.sync()
    assert {name: reports["files"].details[name] for name in plan.counts} == plan.counts


def test_a_dry_run_before_there_is_a_database(tmp_path: Path, settings: Settings) -> None:
    root = tmp_path / "library"
    root.mkdir()
    (root / "a.safetensors").write_bytes(weights(1))
    (tmp_path / "state").mkdir()
    database = connect(f"sqlite:///{tmp_path / 'state' / 'none.sqlite3'}")
    plan = plan_sync(database, settings, [root])
    assert plan.counts == {"new": 1}
    assert list((tmp_path / "state").iterdir()) == []
    database.dispose()


def test_a_dry_run_finds_a_database_whose_path_means_something_in_a_url(tmp_path: Path) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path / "100% a#b")
    settings.data_dir.mkdir()
    (tmp_path / "library").mkdir()
    migrated_sqlite(settings.data_dir / "warehouse.sqlite3")
    database = open_database(settings)
    library = Library(tmp_path / "library", database, settings)
    library.write("a.safetensors", weights(1))
    library.sync()
    assert plan_sync(database, settings, [library.root]).unchanged == 1
    database.dispose()


def test_the_signature_follows_folders_not_contents(library: Library) -> None:
    library.write("a/b/one.json", "{}")
    first = library_signature(library.settings, [library.root])
    assert library_signature(library.settings, [library.root]) == first
    library.write("a/b/two.json", "{}")
    second = library_signature(library.settings, [library.root])
    assert second != first
    (library.root / "a/b/two.json").rename(library.root / "a/b/three.json")
    third = library_signature(library.settings, [library.root])
    assert third != second
    (library.root / "loop").symlink_to(library.root)
    fourth = library_signature(library.settings, [library.root])
    assert fourth != third
    assert library_signature(library.settings, [library.root, library.root.parent / "nowhere"]) != fourth
