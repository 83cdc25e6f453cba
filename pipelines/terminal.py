"""What a person at a terminal sees of a run: bars while it works, a few lines at its end.

Belongs here: Rich. Does not: what the numbers are (`summary`). Bars go to standard error, so that standard output
stays for what was asked.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from logging import Logger
from typing import TYPE_CHECKING

from pipelines.progress import BarProgress, LineProgress, Reporter
from pipelines.summary import Summary
from warehouse.contracts import ANALYTICS, MARTS
from warehouse.ingest.progress import Progress, Silence

if TYPE_CHECKING:
    from rich.console import Console


def _lines(console: "Console") -> Reporter:
    def write(line: str) -> None:
        console.print(line, markup=False, highlight=False, soft_wrap=True)

    return lambda label, _log: LineProgress(label, write)


@contextmanager
def bars(console: "Console") -> Iterator[Reporter]:
    """A live display with a bar per stage: count, rate, elapsed and remaining time."""
    from rich import progress

    display = progress.Progress(
        progress.TextColumn("{task.description}"),
        progress.BarColumn(),
        progress.MofNCompleteColumn(),
        progress.TextColumn("[dim]{task.fields[rate]}"),
        progress.TimeElapsedColumn(),
        progress.TimeRemainingColumn(),
        console=console,
    )

    def bar(label: str, _log: Logger) -> Progress:
        return BarProgress(display, label)

    with display:
        yield bar


@contextmanager
def reporting(*, quiet: bool) -> Iterator[Reporter]:
    """How stages report while the block runs: bars on a terminal, plain lines elsewhere, nothing when quiet."""
    from rich.console import Console

    console = Console(stderr=True)
    if quiet:
        yield lambda _label, _log: Silence()
    elif console.is_terminal:
        with bars(console) as reporter:
            yield reporter
    else:
        yield _lines(console)


def print_summary(summary: Summary) -> None:
    """The end of a run for people, on standard output."""
    from rich.console import Console
    from rich.table import Table

    console = Console(soft_wrap=True, highlight=False)
    table = Table("stage", box=None, pad_edge=False, header_style="dim")
    keys = ("rows", "changed", "skipped", "rejected", "seconds")
    for key in keys:
        table.add_column(key, justify="right")
    for stage, counts in summary["stages"].items():
        if stage.startswith(f"{MARTS}/") and stage != "/".join(ANALYTICS):
            continue
        table.add_row(stage, *(f"{counts.get(key, 0):,}" for key in keys))
    console.print(table)
    documents = summary["documents"]
    console.print(
        f"\n{summary['adapters']:,} adapters from {sum(documents.values()):,} documents in {summary['seconds']:.1f} s",
        markup=False,
    )
    for failed in summary["failed_checks"]:
        console.print(f"{failed['severity'].lower()}: {failed['asset']}: {failed['message']}", markup=False)
