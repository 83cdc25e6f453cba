import os
import shutil
from pathlib import Path

import pytest

from tests.warehouse.ingest.library import Library, model, version, weights
from warehouse.engine import Database
from warehouse.ingest import LibraryError, scan_library
from warehouse.locks import LockHeld, exclusive
from warehouse.settings import Settings


def test_new_changed_vanished_and_back(any_library: Library) -> None:
    library = any_library
    library.write("a/one.safetensors", weights(1))
    library.write("a/one.json", {"description": "x", "activation text": "a", "preferred weight": 0})
    library.write("b/two.json", model(1, version(10)))
    first = library.sync()["files"]
    assert (first.rows, first.changed, first.details["new"]) == (3, 3, 3)
    second = library.sync()["files"]
    assert (second.changed, second.skipped) == (0, 3)

    library.write("a/one.safetensors", weights(2, rank=8))
    taken = (library.root / "b/two.json").read_bytes()
    (library.root / "b/two.json").unlink()
    third = library.sync()["files"]
    assert (third.details["changed"], third.details["vanished"]) == (1, 1)
    states = dict(library.query("SELECT path, state FROM documents"))
    assert states[str(library.root / "b/two.json")] == "missing"

    library.write("b/two.json", taken)
    fourth = library.sync()["files"]
    assert fourth.details["back"] + fourth.details["changed"] == 1
    assert {row.state for row in library.query("SELECT state FROM documents")} == {"present"}


def test_nothing_known_nothing_there(settings: Settings, sqlite_database: Database, tmp_path: Path) -> None:
    with pytest.raises(LibraryError, match="no library folder is known"):
        scan_library(sqlite_database, settings)
    with pytest.raises(LibraryError, match="does not exist"):
        scan_library(sqlite_database, settings, [tmp_path / "nowhere"])
    file = tmp_path / "file.json"
    file.touch()
    with pytest.raises(LibraryError, match="is a file, not a folder"):
        scan_library(sqlite_database, settings, [file])
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(LibraryError, match="no weight file and no metadata document"):
        scan_library(sqlite_database, settings, [empty])


def test_an_unmounted_disk_makes_nothing_vanish(library: Library, tmp_path: Path) -> None:
    library.write("a.safetensors", weights(1))
    other = tmp_path / "other"
    other.mkdir()
    (other / "b.safetensors").write_bytes(weights(2))
    library.sync(roots=[library.root, other])
    hidden = tmp_path / "hidden"
    library.root.rename(hidden)

    scan_library(library.database, library.settings)  # gone altogether
    assert [row.code for row in library.findings("root_not_there")] == ["root_not_there"]
    library.root.mkdir()
    scan_library(library.database, library.settings)  # an empty mount point
    assert len(library.findings("root_empty")) == 1
    assert {row.state for row in library.query("SELECT state FROM files")} == {"present"}

    scan_library(library.database, library.settings, force=True)
    states = dict(library.query("SELECT path, state FROM files"))
    assert states == {str(library.root / "a.safetensors"): "missing", str(other / "b.safetensors"): "present"}


def test_a_moved_folder_keeps_rows_adapters_and_user_state(any_library: Library) -> None:
    library = any_library
    library.write("old/a.safetensors", weights(1))
    library.write(
        "old/a.civitai.info",
        {**version(10, file="a.safetensors"), "modelId": 1, "model": {"name": "A", "type": "LORA"}},
    )
    library.write("old/page.json", model(2, version(20), version(21, name="v2"), name="B"))
    library.sync()
    library.execute("UPDATE adapters SET active = true, ordinal = 7 WHERE name = 'A'")
    before = {row.name + (row.version or ""): row.id for row in library.adapters()}

    (library.root / "old").rename(library.root / "new")
    report = library.sync()
    assert report["files"].details["moved"] == 3
    assert report["documents"].changed == 0
    assert report["inspections"].changed == 0
    after = {row.name + (row.version or ""): row for row in library.adapters()}
    assert {key: row.id for key, row in after.items()} == before
    assert (after["Av1"].active, after["Av1"].ordinal) == (True, 7)
    assert all("/new/" in row.file_path for row in after.values())
    assert {row.file_state for row in after.values()} == {"present", "remote"}


def test_a_renamed_file_is_known_by_its_inode_and_a_copy_is_another_file(library: Library) -> None:
    path = library.write("a.safetensors", weights(1))
    library.sync()
    identity = library.adapter().id
    path.rename(library.root / "renamed.safetensors")
    assert library.sync()["files"].details["moved"] == 1
    assert library.adapter().id == identity
    shutil.copy2(library.root / "renamed.safetensors", library.root / "copy.safetensors")
    library.sync()
    assert {row.file_path.rpartition("/")[2] for row in library.adapters()} == {
        "renamed.safetensors",
        "copy.safetensors",
    }


def test_a_file_copied_elsewhere_and_deleted_keeps_its_adapter(library: Library) -> None:
    library.write("deep/a.safetensors", weights(1))
    library.sync()
    library.execute("UPDATE adapters SET favorite = true")
    identity = library.adapter().id
    data = (library.root / "deep/a.safetensors").read_bytes()
    (library.root / "deep/a.safetensors").unlink()
    library.write("other/b.safetensors", data)  # another inode, name and time: only the content tells
    report = library.sync()
    assert report["inspections"].details["moved"] == 1
    row = library.adapter()
    assert (row.id, row.favorite, row.file_state) == (identity, True, "present")
    assert row.file_path.endswith("other/b.safetensors")
    assert len(library.query("SELECT pk FROM files")) == 1


def test_previews_are_chosen_by_the_order_of_the_tools_and_followed(library: Library) -> None:
    library.write("a.safetensors", weights(1))
    library.write("a.png", b"1")
    library.sync()
    assert library.adapter().preview_path.endswith("/a.png")
    library.write("a.preview.jpg", b"1")
    library.sync()
    assert library.adapter().preview_path.endswith("/a.preview.jpg")
    (library.root / "a.png").unlink()
    (library.root / "a.preview.jpg").unlink()
    library.sync()
    assert library.adapter().preview_path is None


def test_civitdl_documents_belong_to_the_weight_above_them(library: Library) -> None:
    document = model(5, version(7, file="x.safetensors"), version(8, name="v2"), name="Deep")
    library.write("M-mid_5-vid_7.safetensors", weights(1))
    library.write("extra_data-vid_7/model_dict-mid_5-vid_7.json", document)
    library.sync()
    states = {row.civitai_version_id: row.file_state for row in library.adapters()}
    assert states == {7: "present", 8: "remote"}
    (library.root / "M-mid_5-vid_7.safetensors").unlink()
    library.sync()
    states = {row.civitai_version_id: row.file_state for row in library.adapters()}
    assert states == {7: "missing", 8: "remote"}


def test_two_syncs_at_once(library: Library) -> None:
    library.write("a.safetensors", weights(1))
    with exclusive(library.database, "ingest"), pytest.raises(LockHeld, match=str(os.getpid())):
        library.sync()
    library.sync()


def test_force_reads_what_looks_unchanged(library: Library) -> None:
    path = library.write("a.json", model(1, version(10), name="Abcd"))
    library.sync()
    status = path.stat()
    path.write_text(path.read_text().replace("Abcd", "Efgh"))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    library.sync()
    assert library.adapter().name == "Abcd"
    library.sync(force=True)
    assert library.adapter().name == "Efgh"


def test_a_scan_inside_a_registered_root(library: Library) -> None:
    library.write("in/a.safetensors", weights(1))
    library.write("out/b.safetensors", weights(2))
    library.sync()
    (library.root / "in/a.safetensors").unlink()
    (library.root / "out/b.safetensors").unlink()
    library.write("in/c.safetensors", weights(3))
    library.sync(roots=[library.root / "in"])
    states = {Path(path).name: state for path, state in library.query("SELECT path, state FROM files")}
    assert states == {"a.safetensors": "missing", "b.safetensors": "present", "c.safetensors": "present"}
