"""Bundles of documents alone are derived while they are read, as long as nothing else is due."""

import signal
from typing import Any

import pytest
from sqlalchemy import text

from tests.warehouse.ingest.library import Library, model, version, weights
from tests.warehouse.ingest.test_kill import _child, snapshot
from warehouse.ingest import build_adapters, deriving, read_documents, scan_library
from warehouse.samples import generate_documents

NOTHING = {"bundles": 0, "inserted": 0, "updated": 0, "missing": 0, "deleted": 0}


def _scan_and_read(library: Library) -> Any:
    scan_library(library.database, library.settings, [library.root])
    return read_documents(library.database, library.settings).details["adapters"]


def _due(library: Library) -> list[str]:
    return [row.stem for row in library.query("SELECT stem FROM bundles WHERE built_revision < revision ORDER BY pk")]


def test_documents_alone_are_derived_when_read(any_library: Library) -> None:
    library = any_library
    library.write("a.json", model(1, version(10), version(11, name="v2"), name="A"))
    library.write("a.civitai.info", {**version(10), "modelId": 1})
    library.write("b.json", '{"id": 1,')
    library.write("c.json", model(3, version(30), name="C"))
    assert _scan_and_read(library) == {**NOTHING, "bundles": 3, "inserted": 3}
    assert _due(library) == []
    assert build_adapters(library.database, library.settings).details["bundles"] == 0
    library.write("c.json", model(3, version(30), name="Changed"))
    assert _scan_and_read(library) == {**NOTHING, "bundles": 1, "updated": 1}
    assert [row.name for row in library.adapters()] == ["A", "A", "Changed"]


def test_nothing_is_derived_early_while_a_weight_file_waits(library: Library) -> None:
    library.write("a.json", model(1, version(10), name="A"))
    library.write("b.safetensors", weights(1))
    assert _scan_and_read(library) == NOTHING
    assert _due(library) == ["a", "b"]


def test_from_the_first_bundle_that_takes_more_the_rest_waits(library: Library) -> None:
    library.write("b.safetensors", weights(1))
    library.write("b.json", model(2, version(20), name="B"))
    library.write("c.json", model(3, version(30), name="C"))
    library.sync()
    library.write("b.json", model(2, version(20), name="B2"))
    library.write("c.json", model(3, version(30), name="C2"))
    assert _scan_and_read(library) == NOTHING
    assert _due(library) == ["b", "c"]


def test_a_broken_edit_waits_and_keeps_what_the_document_said(library: Library) -> None:
    library.write("a.json", model(1, version(10), name="A"))
    library.sync()
    library.write("a.json", '{"id": 1,')
    assert _scan_and_read(library) == NOTHING
    library.sync()
    assert library.adapter().name == "A"


@pytest.mark.parametrize("step", ["decide", "assess", "fold_tags"])
def test_a_fault_of_deriving_is_left_to_the_stage_that_reports_it(
    library: Library, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def fail(*_: Any) -> None:
        raise ZeroDivisionError

    library.write("a.json", model(1, version(10), name="A"))
    monkeypatch.setattr(deriving, step, fail)
    library.sync()
    (finding,) = library.findings("internal_error")
    assert "ZeroDivisionError" in finding.message
    assert library.query("SELECT verdict FROM documents")[0].verdict == "accepted"


@pytest.mark.parametrize("at", [0.3, 0.9])
def test_killed_while_it_derives_and_run_again(library: Library, at: float) -> None:
    generate_documents(library.root, documents=40)
    library.write("name.json", model(1, version(10), name="Clash"))
    library.write("other.json", model(2, version(20), name="Clash"))
    died = _child(library, "documents", str(int(200 * at)))
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert library.query("SELECT 1 FROM adapters"), "killed before anything was derived"
    library.sync()
    found = snapshot(library)
    # Everything due at once is derived by the stage of adapters: it must come to the same.
    with library.database.write() as connection:
        for table in ("adapters", "hash_claims", "findings", "facet_counts"):
            connection.execute(text(f"DELETE FROM {table}"))
        connection.execute(text("UPDATE bundles SET built_revision = 0"))
    library.sync()
    assert snapshot(library) == found
