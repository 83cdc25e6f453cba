"""The sweep for edits in place: every file in its turn, within the budget."""

from pathlib import Path

from warehouse.engine import Database
from warehouse.ingest import scan_library
from warehouse.ingest.sweep import Position, sweep_edits
from warehouse.settings import Settings


def _library(folder: Path, count: int) -> list[Path]:
    folder.mkdir()
    documents = [folder / f"{number}.json" for number in range(count)]
    for document in documents:
        document.write_text("{}")
    (folder / "weight.safetensors").write_bytes(b"1234")
    return documents


def test_every_file_is_looked_at_in_its_turn(database: Database, settings: Settings, tmp_path: Path) -> None:
    documents = _library(tmp_path / "loras", 7)
    scan_library(database, settings, [tmp_path / "loras"])
    for edited in (*documents, tmp_path / "loras" / "weight.safetensors"):
        edited.write_bytes(edited.read_bytes() + b" ")
    position, found = Position(), set()
    for _ in range(20):
        sweep = sweep_edits(database, position, budget=3)
        position = sweep.position
        if sweep.edited is not None:
            found.add(Path(sweep.edited.split(" (")[0]).name)
    assert found == {*(document.name for document in documents), "weight.safetensors"}


def test_a_library_as_it_was_has_no_edits(sqlite_database: Database, settings: Settings, tmp_path: Path) -> None:
    documents = _library(tmp_path / "loras", 4)
    scan_library(sqlite_database, settings, [tmp_path / "loras"])
    documents[0].unlink()
    assert sweep_edits(sqlite_database, Position()).edited is None


def test_an_empty_warehouse_is_swept_at_once(sqlite_database: Database) -> None:
    assert sweep_edits(sqlite_database, Position(1, 99)).edited is None
