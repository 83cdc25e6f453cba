import os
import threading
import zlib
from pathlib import Path

import pytest

from tests.processes import new_children
from tests.warehouse.ingest.library import Library, model, version, weights
from warehouse.ingest import bundles, read_documents, reading, scan_library
from warehouse.ingest import pool as pools
from warehouse.ingest.bundles import BundleRead, BundleReadTask
from warehouse.ingest.calls import Call
from warehouse.ingest.pool import Pool
from warehouse.ingest.reading import ReadOutcome, ReadTask


def test_every_document_is_kept_raw_with_its_verdict(any_library: Library) -> None:
    library = any_library
    good = library.write("good.json", model(1, version(10), name="Gut ✨ 星"))
    library.write("broken.json", '{"id": 1,')
    library.write(
        "bom.json",
        b"\xef\xbb\xbf" + good.read_bytes().replace(b'"id": 1,', b'"id": 2,').replace(b'"id": 10', b'"id": 20'),
    )
    library.write("utf16.json", good.read_text().encode("utf-16"))
    library.write("nan.json", '{"id": NaN}')
    library.write("deep.json", "[" * 100_000)
    library.write("package.json", {"name": "left-pad", "dependencies": {}})
    library.write("asked.civitai.info", "{}")
    library.write("checkpoint.json", {**model(3, version(30)), "type": "Checkpoint"})
    library.write(
        "nul.json", model(4, version(40), name="N\u0000ul", tags=["a\u0000b"], strange={"k\u0000": "v\u0000"})
    )
    library.write("empty.json", b"")
    report = library.sync()["documents"]
    verdicts = {Path(row.path).name: row.verdict for row in library.query("SELECT path, verdict FROM documents")}
    assert verdicts["good.json"] == verdicts["bom.json"] == verdicts["nul.json"] == "accepted"
    for name in ("broken.json", "nan.json", "deep.json", "empty.json"):
        assert verdicts[name] == "quarantined"
    assert verdicts["package.json"] == verdicts["checkpoint.json"] == "left_out"
    assert verdicts["asked.civitai.info"] == "not_found"
    assert report.rejected == sum(verdict == "quarantined" for verdict in verdicts.values())
    reasons = library.query("SELECT reason_code, reason FROM documents WHERE verdict NOT IN ('accepted')")
    assert all(row.reason_code and row.reason for row in reasons)
    raw = library.query(
        "SELECT c.raw FROM document_contents c JOIN documents d ON d.pk = c.document_pk WHERE d.path LIKE '%good.json'"
    )
    assert zlib.decompress(bytes(raw[0].raw)) == good.read_bytes()
    names = sorted((row.civitai_model_id, row.name) for row in library.adapters())
    assert [number for number, _ in names] == [1, 2, 4]
    assert not any("\x00" in name for _, name in names)


def test_a_document_over_the_limit_is_quarantined_unread(library: Library) -> None:
    library.settings = library.settings.model_copy(update={"max_document_bytes": 4096})
    path = library.write("big.json", model(1, version(10)))
    library.sync()
    with path.open("ab") as stream:
        stream.truncate(50 * 2**20)
    report = library.sync()
    (row,) = library.query("SELECT * FROM documents")
    assert (row.verdict, row.reason_code, row.read_size) == ("quarantined", "too_large", 50 * 2**20)
    assert "LORA_MANAGER_MAX_DOCUMENT_BYTES" in row.reason
    assert len(library.query("SELECT * FROM document_contents WHERE is_sound")) == 1
    assert library.adapter().file_state == "remote"  # what the document said while it could be read
    assert report["documents"].rejected == 1


def test_an_edit_that_breaks_a_document_takes_nothing_from_its_adapter(any_library: Library) -> None:
    library = any_library
    path = library.write("a.json", model(1, version(10), name="Lantern", tags=["style"]))
    library.sync()
    sound = path.read_bytes()
    path.write_bytes(sound[:-40])
    report = library.sync()
    (row,) = library.query("SELECT verdict, reason FROM documents")
    assert row.verdict == "quarantined"
    assert "stays in use" in row.reason
    assert report["documents"].rejected == 1
    (raw,) = library.query("SELECT raw FROM document_contents")
    assert zlib.decompress(bytes(raw.raw)) == sound
    adapter = library.adapter()
    assert (adapter.name, adapter.file_state) == ("Lantern", "remote")

    path.write_bytes(sound.replace(b"Lantern", b"Lamp"))
    library.sync()
    assert library.adapter().name == "Lamp"


def test_a_document_that_never_could_be_read_is_kept_as_it_last_was(library: Library) -> None:
    path = library.write("a.json", b'{"id": 1,')
    library.sync()
    path.write_bytes(b'{"id": 12,')
    library.sync()
    (raw,) = library.query("SELECT raw, is_sound FROM document_contents")
    assert (zlib.decompress(raw.raw), bool(raw.is_sound)) == (b'{"id": 12,', False)


def test_fifty_megabytes_are_read_where_they_are_allowed(library: Library) -> None:
    library.settings = library.settings.model_copy(update={"max_document_bytes": 64 * 2**20})
    library.write("big.json", model(1, version(10), filler="x" * (50 * 2**20)))
    library.sync()
    assert library.adapter().name == "Model"


def test_a_touched_document_is_read_but_changes_nothing(library: Library) -> None:
    path = library.write("a.json", model(1, version(10)))
    library.sync()
    before = library.adapter()
    os.utime(path)
    report = library.sync()
    assert report["files"].details["changed"] == 1
    assert report["documents"].details["read"] == 1
    assert report["documents"].changed == 0
    assert report["adapters"].details["bundles"] == 0
    assert library.adapter() == before


def test_a_document_that_vanishes_between_scan_and_reading(library: Library) -> None:
    path = library.write("a.json", model(1, version(10)))
    library.write("b.json", model(2, version(20), name="B"))
    scan_library(library.database, library.settings, [library.root])
    path.unlink()
    report = read_documents(library.database, library.settings)
    assert (report.details["read"], report.details["vanished"]) == (1, 1)
    library.write("a.json", model(1, version(10)))
    library.sync()
    assert len(library.adapters()) == 2


def test_a_document_that_cannot_be_read_is_tried_again(library: Library) -> None:
    # A link to itself can be listed but not opened, whoever asks: permission bits do not bind root.
    folder = library.root / "x.json"
    folder.mkdir()
    assert reading.read(ReadTask(1, str(folder)), 1024).state == "missing"
    loop = library.root / "loop.json"
    loop.symlink_to(loop)
    outcome = reading.read(ReadTask(1, str(loop)), 1024)
    assert (outcome.state, outcome.verdict, outcome.reason_code) == ("unreadable", "quarantined", "unreadable")
    assert outcome.reason is not None
    assert "loop.json" in outcome.reason


def _task(number: int, path: Path, place: tuple[str, str] | None = None) -> BundleReadTask:
    return BundleReadTask(number, [ReadTask(number, str(path))], place)


def test_workers_and_this_process_read_alike(library: Library) -> None:
    for number in range(pools.FEW + 20):
        library.write(f"{number}.json", model(number, version(number), name=f"M{number}"))
    tasks = [
        _task(number, library.root / f"{number}.json", (str(library.root), str(number)))
        for number in range(pools.FEW + 20)
    ]
    batches = [tasks[start : start + 16] for start in range(0, len(tasks), 16)]
    settings = library.settings.model_copy(update={"ingest_workers": 2})
    children = new_children()

    def results(expected: int) -> list[BundleRead]:
        pool: Pool[BundleReadTask, BundleRead] = Pool(Call.READ, settings, expected=expected, failed=bundles.crashed)
        return [outcome for batch in pool.map(batches) for outcome in batch]

    assert results(len(tasks)) == results(1)
    assert children() == []


def test_killed_workers_are_replaced(library: Library) -> None:
    path = library.write("a.json", model(1, version(1)))
    settings = library.settings.model_copy(update={"ingest_workers": 2})
    children = new_children()
    pool: Pool[BundleReadTask, BundleRead] = Pool(Call.READ, settings, expected=10_000, failed=bundles.crashed)
    batches = [[_task(number, path)] for number in range(200)]
    outcomes: list[ReadOutcome] = []
    for position, batch in enumerate(pool.map(batches)):
        outcomes.extend(outcome for read in batch for outcome in read.outcomes)
        if position in (20, 90):
            for child in children():
                child.kill()
    assert [outcome.pk for outcome in outcomes] == list(range(200))
    # A task under way when its worker was killed is asked again; only one that kills again is given up.
    assert sum(outcome.verdict == "accepted" for outcome in outcomes) >= 196


def test_a_pool_that_is_left_early_ends_its_workers(library: Library) -> None:
    path = library.write("a.json", model(1, version(1)))
    settings = library.settings.model_copy(update={"ingest_workers": 2})
    children, threads = new_children(), threading.active_count()
    pool: Pool[BundleReadTask, BundleRead] = Pool(Call.READ, settings, expected=10_000, failed=bundles.crashed)
    results = pool.map([[_task(number, path)] for number in range(100)])
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert children() == []
    assert threading.active_count() <= threads


def test_complaints_are_findings_that_go_with_their_cause(library: Library) -> None:
    library.write("a.json", {**model(1, version(10)), "tags": "not a list", "nsfwLevel": "many"})
    library.sync()
    found = library.query("SELECT code, path, message FROM findings WHERE origin = 'documents'")
    assert found
    assert all(row.path.endswith("a.json") and "$." in row.message for row in found)
    library.write("a.json", model(1, version(10)))
    library.sync()
    assert library.query("SELECT code FROM findings WHERE origin = 'documents'") == []


@pytest.mark.parametrize(
    "name", ["日本語 ✨.json", "new\nline.json", "' OR 1=1 --.json", "%_[a].json", "a" * 240 + ".json"]
)
def test_names_in_any_script(any_library: Library, name: str) -> None:
    library = any_library
    library.write(f"ordner/{name}", model(1, version(10)))
    library.write(f"{Path(name).stem}.safetensors", weights(1))
    library.sync()
    assert len(library.adapters()) == 2
    assert library.sync()["files"].changed == 0
