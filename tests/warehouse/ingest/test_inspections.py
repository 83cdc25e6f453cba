import hashlib
import struct

import blake3

from tests.warehouse.ingest.library import Library, model, sha256, version, weights


def test_hashes_and_validity(any_library: Library) -> None:
    library = any_library
    data = weights(1)
    library.write("good.safetensors", data)
    library.write("cut.safetensors", data[:-100])
    library.write("page.safetensors", "<!doctype html><html>sign in</html>")
    library.write("hostile.safetensors", struct.pack("<Q", 2**63 - 1) + b"{}")
    library.write("empty.safetensors", b"")
    library.write("old.pt", b"\x80\x02}q\x00." + b"0" * 100)
    report = library.sync()["inspections"]
    rows = {
        row.path.rpartition("/")[2]: row
        for row in library.query(
            "SELECT f.*, i.valid, i.problem, i.message FROM files f JOIN inspections i ON i.file_pk = f.pk"
        )
    }
    good = rows["good.safetensors"]
    assert good.sha256 == hashlib.sha256(data).hexdigest()
    assert good.blake3 == blake3.blake3(data).hexdigest()
    length = struct.unpack("<Q", data[:8])[0]
    assert good.payload_sha256 == hashlib.sha256(data[8 + length :]).hexdigest()
    assert bool(good.valid)
    assert {name: row.problem for name, row in rows.items() if row.valid is not None and not row.valid} == {
        "cut.safetensors": "truncated_data",
        "page.safetensors": "html_page",
        "hostile.safetensors": "header_too_large",
        "empty.safetensors": "empty_file",
    }
    assert rows["old.pt"].valid is None
    assert all(row.sha256 for row in rows.values())
    states = {row.file_path.rpartition("/")[2]: row.file_state for row in library.adapters()}
    assert states["cut.safetensors"] == "invalid"
    assert states["good.safetensors"] == "present"
    assert (report.rejected, report.changed) == (4, 6)
    assert library.sync()["inspections"].changed == 0


def test_a_changed_file_is_hashed_again_and_no_other(library: Library) -> None:
    library.write("a.safetensors", weights(1))
    library.write("b.safetensors", weights(2))
    library.sync()
    library.write("a.safetensors", weights(3, rank=8))
    report = library.sync()["inspections"]
    assert report.changed == 1
    (row,) = library.query("SELECT sha256 FROM files WHERE path LIKE '%a.safetensors'")
    assert row.sha256 == hashlib.sha256(weights(3, rank=8)).hexdigest()


def test_a_document_that_claims_another_hash_is_a_finding(library: Library) -> None:
    library.write("a.safetensors", weights(1))
    library.write("a.json", model(1, version(10, file="a.safetensors", sha256="AB" * 32)))
    library.sync()
    assert len(library.findings("sha256_mismatch")) == 1
    row = library.adapter()
    assert row.primary_file_sha256 == "ab" * 32  # as stated; what was measured stands in `files`
    library.write("a.json", model(1, version(10, file="a.safetensors", sha256=sha256(weights(1)))))
    library.sync()
    assert library.findings("sha256_mismatch") == []


def test_the_version_is_resolved_by_hash_once_it_is_known(library: Library) -> None:
    data = weights(1)
    versions = [version(number, name=f"v{number}", file="same.safetensors") for number in (10, 11)]
    versions.append(version(12, name="v12", file="same.safetensors", sha256=sha256(data)))
    library.write("a.safetensors", data)
    library.write("a.json", model(1, *versions))
    library.sync()
    present = [row.civitai_version_id for row in library.adapters() if row.file_state == "present"]
    assert present == [12]


def test_duplicates_in_their_classes(any_library: Library) -> None:
    library = any_library
    one = weights(1)
    library.write("a.safetensors", one)
    library.write("copy/b.safetensors", one)
    library.write("c.safetensors", weights(1, metadata={"note": "another header"}))
    for name, seed in (("x", 5), ("y", 6)):
        library.write(f"{name}.safetensors", weights(seed))
        library.write(
            f"{name}.civitai.info",
            {**version(77, file=f"{name}.safetensors"), "modelId": 7, "model": {"name": "X", "type": "LORA"}},
        )
    report = library.sync()["inspections"]
    groups: dict[str, set[str]] = {}
    for row in library.query("SELECT d.kind, a.file_path FROM duplicates d JOIN adapters a ON a.pk = d.adapter_pk"):
        groups.setdefault(row.kind, set()).add(row.file_path.rpartition("/")[2].partition(".")[0])
    assert groups["same_file"] == {"a", "b"}
    assert groups["same_weights"] == {"a", "b", "c"}
    assert groups["same_version"] == {"x", "y"}
    assert groups["name_clash"] == {"x", "y"}
    assert report.details["duplicates"] == {"same_file": 2, "same_weights": 3, "same_version": 2, "name_clash": 2}
    before = library.query("SELECT * FROM duplicates ORDER BY pk")
    changes = library.query("SELECT sum(changes) FROM change_counts WHERE noun = 'adapters'")
    assert library.sync()["inspections"].details["duplicates"] == report.details["duplicates"]
    assert library.query("SELECT * FROM duplicates ORDER BY pk") == before
    assert library.query("SELECT sum(changes) FROM change_counts WHERE noun = 'adapters'") == changes
    (library.root / "copy/b.safetensors").unlink()
    assert library.sync()["inspections"].details["duplicates"]["same_file"] == 0
    kept = {row.pk for row in library.query("SELECT pk FROM duplicates WHERE kind IN ('same_version', 'name_clash')")}
    assert kept == {row.pk for row in before if row.kind in ("same_version", "name_clash")}
