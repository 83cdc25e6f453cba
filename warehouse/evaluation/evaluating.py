"""Putting a report together: every way to answer, every variant of the questions."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from warehouse.engine import Database
from warehouse.evaluation.metrics import Figures, measure
from warehouse.evaluation.questions import Part, Query, Questions, Variant, choose
from warehouse.evaluation.rankers import OURS, Library, Ranker, rankers
from warehouse.ingest.progress import Progress, Silence
from warehouse.settings import Settings
from warehouse.vectors import tuned
from warehouse.vectors.loading import load_known, quality_score


@dataclass(frozen=True, slots=True)
class Report:
    """What an evaluation found."""

    adapters: int
    possible: int
    """Different prompts that could have been asked."""
    queries: int
    models: int
    part: Part
    figures: Mapping[str, Mapping[Variant, Figures]]
    """By the way to answer."""
    quality_correlation: float | None
    """Spearman's, of `quality_score` with the reciprocal rank of prompts as written; None where one is always equal."""
    seconds: float


class NothingToAskError(LookupError):
    """The library has no example prompts."""


def evaluate(
    database: Database,
    settings: Settings,
    *,
    count: int = 500,
    seed: int = 0,
    part: Part = Part.MEASURED,
    progress: Progress | None = None,
) -> Report:
    """Ask the library its own example prompts.

    Args:
        count: prompts that are asked, at most.
        part: the models whose prompts are asked; all models are searched.

    Raises:
        NothingToAskError: there are no example prompts, or none in this part.
        EncoderError: a model of the settings cannot be used. OSError: the disk of temporary files is full.
    """
    started = time.monotonic()
    shown = progress or Silence()
    settings = tuned.in_use(database, settings)
    with database.read() as connection, tempfile.TemporaryDirectory(prefix="lora-manager-evaluation-") as folder:
        questions = choose(connection, count, seed=seed, part=part)
        if not questions.queries:
            raise NothingToAskError(
                "no adapter has example images with prompts: an evaluation asks those. Ingest documents that have "
                "them (Civitai's API gives them), then run this again"
            )
        library = Library(connection, settings, questions, Path(folder), shown)
        ranks = ranks_of(library, rankers(library), questions, shown)
        asked_for = {query.adapter for query in questions.queries}
        qualities = {each.pk: quality_score(each.facts) for each in load_known(connection, sorted(asked_for))}
    asked = [query.model for query in questions.queries]
    return Report(
        adapters=len(library.models),
        possible=questions.possible,
        queries=len(questions.queries),
        models=len({query.model for query in questions.queries}),
        part=part,
        figures={
            name: {variant: measure(places, asked) for variant, places in variants.items()}
            for name, variants in ranks.items()
        },
        quality_correlation=_correlation(
            [qualities[query.adapter] for query in questions.queries], ranks[OURS][Variant.WRITTEN]
        ),
        seconds=time.monotonic() - started,
    )


def ranks_of(
    library: Library,
    ways: Mapping[str, Ranker],
    questions: Questions,
    progress: Progress | None = None,
) -> dict[str, dict[Variant, list[int | None]]]:
    """The rank of the right model for every way to answer, variant and query."""
    shown = progress or Silence()
    ranks: dict[str, dict[Variant, list[int | None]]] = {name: {} for name in ways}
    shown.start(len(Variant) * len(questions.queries), "questions")
    for variant in Variant:
        asked = library.ask([query.text(variant) for query in questions.queries])
        for places in ranks.values():
            places[variant] = []
        for query, each in zip(questions.queries, asked, strict=True):
            for name, ranker in ways.items():
                ranks[name][variant].append(rank_of(query, ranker(each), library.models))
            shown.advance(1)
    return ranks


def _correlation(qualities: Sequence[float], ranks: Sequence[int | None]) -> float | None:
    from scipy.stats import spearmanr

    gains = [0.0 if rank is None else 1 / rank for rank in ranks]
    if len(set(qualities)) < 2 or len(set(gains)) < 2:
        return None
    return round(float(spearmanr(qualities, gains).statistic), 3)


def rank_of(query: Query, answer: Sequence[int], models: Mapping[int, str]) -> int | None:
    """The place of the right model among the different models of an answer, from 1; None where it is not there."""
    for place, model in enumerate(dict.fromkeys(models[number] for number in answer), start=1):
        if model == query.model:
            return place
    return None
