"""`lora-manager evaluate`: how well recommendations find the adapter that a prompt was written for."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from serving.cli.context import DataOption, JsonOption, database_of, settings_of
from serving.cli.errors import CommandError, Exit
from serving.cli.output import note, on_terminal, show_json, show_table

if TYPE_CHECKING:
    from warehouse.evaluation.evaluating import Report
    from warehouse.evaluation.learning import Learned
    from warehouse.evaluation.metrics import Figures
    from warehouse.ingest.progress import Progress

_PARTS = {"measured": "measured-on", "learned": "learned-on", "all": "all"}


def evaluate(
    *,
    data: DataOption = None,
    queries: Annotated[int, typer.Option(min=1, max=100_000, help="Prompts that are asked, at most.")] = 500,
    seed: Annotated[int, typer.Option(help="The same seed asks the same prompts.")] = 0,
    part: Annotated[
        str, typer.Option(help="Whose prompts are asked: measured, learned (half of the models each) or all.")
    ] = "measured",
    learn: Annotated[
        bool, typer.Option("--learn", help="Fit the weights of the word index on the learned half, and print them.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Measure recommendations. The library is asked the prompts of its own example images, held out of the search."""
    from dataclasses import asdict

    from warehouse.evaluation.evaluating import NothingToAskError
    from warehouse.evaluation.evaluating import evaluate as measure
    from warehouse.evaluation.learning import learn as fit
    from warehouse.evaluation.questions import Part
    from warehouse.vectors import EncoderError

    if part not in _PARTS:
        raise CommandError(f"--part {part!r} is none of {', '.join(_PARTS)}", Exit.USAGE)
    settings = settings_of(data)
    with database_of(settings) as database, _progress() as progress:
        try:
            if learn:
                found: Report | Learned = fit(database, settings, count=queries, seed=seed, progress=progress)
            else:
                found = measure(
                    database, settings, count=queries, seed=seed, part=Part(_PARTS[part]), progress=progress
                )
        except NothingToAskError as error:
            raise CommandError(str(error)) from None
        except EncoderError as error:
            raise CommandError(f"{error} (`lora-manager doctor`)") from None
    if as_json:
        show_json(asdict(found))
    else:
        _show(found)


def _show(found: "Report | Learned") -> None:
    from warehouse.evaluation.learning import Learned

    if isinstance(found, Learned):
        show_table(["field", "weight"], [*found.weights.items()], title=f"Learned on {found.questions:,} prompts")
        return
    title = f"{found.queries:,} prompts of {found.models:,} models ({found.part}), {found.adapters:,} adapters"
    note(f"{title}; searched in {found.seconds:.0f} s. In brackets: 95 % of resamples of the models.")
    if found.quality_correlation is not None:
        note(
            f"Quality score against how well an adapter is found (rank correlation): {found.quality_correlation:+.2f}."
        )
    show_table(
        ["way to answer", "prompt", "recall@1", "recall@10", "MRR", "nDCG@10"],
        [
            [name, variant, *_cells(figures)]
            for name, variants in found.figures.items()
            for variant, figures in variants.items()
        ],
    )


def _cells(figures: "Figures") -> list[str]:
    return [str(each) for each in (figures.recall_at_1, figures.recall_at_10, figures.mrr, figures.ndcg_at_10)]


@contextmanager
def _progress() -> "Iterator[Progress | None]":
    """A bar for whoever looks; nothing for a pipe."""
    if not on_terminal():
        yield None
        return
    from rich.progress import Progress as Bars

    from serving.cli.output import console

    with Bars(console=console(stderr=True), transient=True) as bars:
        yield _Bar(bars)


class _Bar:
    """One bar after the other."""

    def __init__(self, bars: Any) -> None:
        self._bars = bars
        self._task: Any = None

    def start(self, total: int | None, unit: str) -> None:
        """The next piece of work."""
        if self._task is not None:
            self._bars.remove_task(self._task)
        self._task = self._bars.add_task(unit, total=total)

    def advance(self, amount: int = 1) -> None:
        """So much of it is done."""
        self._bars.advance(self._task, amount)
