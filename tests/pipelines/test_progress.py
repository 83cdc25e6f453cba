"""Progress tells enough and not too much."""

import logging

import pytest

from pipelines.progress import LineProgress, LogProgress


def test_log_progress_says_how_much_there_is_and_then_holds_its_tongue(caplog: pytest.LogCaptureFixture) -> None:
    progress = LogProgress("Reading", logging.getLogger("run"))
    with caplog.at_level(logging.INFO):
        progress.start(2_000, "documents")
        for _ in range(2_000):
            progress.advance()
    assert [record.getMessage() for record in caplog.records] == ["Reading: 2,000 documents to do"]


def test_log_progress_speaks_again_after_a_while(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [0.0]
    monkeypatch.setattr("pipelines.progress.time.monotonic", lambda: clock[0])
    progress = LogProgress("Reading", logging.getLogger("run"))
    with caplog.at_level(logging.INFO):
        progress.start(100, "documents")
        clock[0] = 10.0
        progress.advance(50)
    assert caplog.messages[-1] == "Reading: 50 of 100 documents (5/s, 10 s left)"


def test_nothing_to_do_is_no_line() -> None:
    lines: list[str] = []
    LineProgress("Reading", lines.append).start(0, "documents")
    assert lines == []
