"""Real metadata, all of it in one library; skipped where the corpus is not at hand."""

from pathlib import Path

from tests.warehouse.ingest.library import Library


def test_the_whole_corpus_in_one_library(corpus: Path, any_library: Library) -> None:
    library = any_library
    reports = library.sync(roots=[corpus])
    verdicts = reports["documents"].details["verdicts"]
    files = sum(1 for path in corpus.rglob("*") if path.suffix in (".json", ".info"))
    assert sum(verdicts.values()) == files
    assert verdicts["accepted"] >= 0.9 * files
    decoys = library.query("SELECT verdict FROM documents WHERE path LIKE '%/decoy_non_lora/%'")
    assert decoys
    assert {row.verdict for row in decoys} == {"left_out"}
    records = library.query("SELECT verdict FROM documents WHERE path LIKE '%/api_model/%'")
    assert {row.verdict for row in records} == {"accepted"}
    assert library.findings("internal_error") == []
    assert reports["inspections"].rejected == 0
    rows = library.adapters()
    assert len(rows) > 1_500
    assert len({(row.name, row.version) for row in rows}) == len(rows)
    numbers = [row.civitai_version_id for row in rows if row.civitai_version_id is not None]
    assert len(set(numbers)) == len(numbers), "one adapter per version"
    assert [report.changed for report in library.sync(roots=[corpus]).values()] == [0, 0, 0, 0]
