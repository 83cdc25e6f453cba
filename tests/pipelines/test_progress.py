"""Progress tells enough and not too much."""

import io
import logging

import pytest
from rich.console import Console

from pipelines import terminal
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


def test_bars_show_count_and_rate_from_the_first_report() -> None:
    written = io.StringIO()
    with terminal.bars(Console(file=written, force_terminal=True, width=120)) as reporter:
        progress = reporter("Reading", logging.getLogger())
        progress.start(10, "documents")
        progress.advance(10)
    assert "10/10" in written.getvalue()
    assert "/s" in written.getvalue()
