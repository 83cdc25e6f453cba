"""Whether a tuned encoder is better than the one in use, on models that it never saw.

Both search the same adapters for the same prompts, as prompts are answered: with all that is known of an adapter, and
as one is found that has no example prompts yet. Does not belong here: training, and where an encoder is published.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection

from warehouse.evaluation.evaluating import ranks_of
from warehouse.evaluation.metrics import Measure, mean_with_interval, measure
from warehouse.evaluation.questions import Questions, Variant, held_out_of, models_of, scattered
from warehouse.evaluation.rankers import OURS, WITHHELD, Library, rankers
from warehouse.ingest.progress import Progress
from warehouse.settings import Settings
from warehouse.tuning.examples import TUNED_SPACES
from warehouse.vectors.encoders import Encoder
from warehouse.vectors.loading import load_known
from warehouse.vectors.spaces import default_weights, space_of
from warehouse.vectors.stored import batched

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SEARCHED = 4_000
"""Adapters that are searched: a minute or two of a CPU's work to embed them anew."""
QUESTIONS = 300
_WORSE = 0.01
"""How much worse prompts may be answered with all that is known, for what is gained without example prompts."""
_LESS_ALIKE = 0.05
"""How much less, as a share, the nearest adapters may have in common."""
_CHUNK = 500
_NEAREST = 10

_Ranks = Mapping[str, Mapping[Variant, Sequence[int | None]]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Figures of the encoder in use and of the tuned one, by the way to answer and variant; and what decides.

    `gain` is the mean difference of reciprocal ranks over both ways and variants; `gain_as_served` that of the way with
    all that is known; `alike` the mean share of tags that an adapter has in common with its ten nearest, before and
    after.
    """

    questions: int
    adapters: int
    before: Mapping[str, Mapping[Variant, Measure]]
    after: Mapping[str, Mapping[Variant, Measure]]
    gain: Measure
    gain_as_served: Measure
    alike: tuple[float, float]

    @property
    def wins(self) -> bool:
        """Whether it is better beyond chance, and nothing that matters became worse."""
        before, after = self.alike
        return self.gain.low > 0 and self.gain_as_served.value >= -_WORSE and after >= (1 - _LESS_ALIKE) * before

    def as_manifest(self) -> dict[str, Any]:
        """The figures as plain values: recall@10, and the interval of the gain."""
        return {
            "questions": self.questions,
            "adapters": self.adapters,
            "recall@10": {
                way: {variant.value: [self.before[way][variant].value, found.value] for variant, found in found.items()}
                for way, found in self.after.items()
            },
            "gain": [self.gain.low, self.gain.value, self.gain.high],
            "gain_as_served": [self.gain_as_served.low, self.gain_as_served.value, self.gain_as_served.high],
            "tags_in_common": list(self.alike),
            "wins": self.wins,
        }


def compare(
    connection: Connection, settings: Settings, encoder: Encoder, questions: Questions, progress: Progress
) -> Comparison:
    """Ask the encoder in use and a tuned one the same questions.

    Args:
        settings: those with the encoder in use.
        questions: of models that the tuned one has not learned from; one at least.

    Raises:
        EncoderError: a model of the settings cannot be used. OSError: the disk of temporary files is full.
    """
    models = models_of(connection)
    with tempfile.TemporaryDirectory(prefix="lora-manager-tuning-") as folder:
        searched = _searched(questions, models)
        library = Library(connection, settings, questions, Path(folder), progress, only=searched)
        tuned = _embedded_anew(connection, library, encoder, questions, progress)
        before = _ranks(library, questions)
        after = _ranks(tuned, questions)
        tags = _tags(connection, library.numbers.tolist())
        alike = (_alike(library, tags, models), _alike(tuned, tags, models))
    asked = [query.model for query in questions.queries]
    return Comparison(
        len(questions.queries),
        len(library.numbers),
        _recalls(before, asked),
        _recalls(after, asked),
        _gain(before, after, (OURS, WITHHELD), asked),
        _gain(before, after, (OURS,), asked),
        alike,
    )


def _searched(questions: Questions, models: Mapping[int, str]) -> list[int]:
    """The adapters of the models that are asked for, and others by a hash up to the limit."""
    asked = {query.model for query in questions.queries}
    right = [pk for pk, model in models.items() if model in asked]
    others = sorted((pk for pk, model in models.items() if model not in asked), key=lambda pk: scattered(str(pk)))
    return right + others[: max(0, SEARCHED - len(right))]


def _ranks(library: Library, questions: Questions) -> _Ranks:
    ways = rankers(library)
    return ranks_of(library, {name: ways[name] for name in (OURS, WITHHELD)}, questions)


def _recalls(ranks: _Ranks, asked: Sequence[str]) -> dict[str, dict[Variant, Measure]]:
    return {
        way: {variant: measure(places, asked).recall_at_10 for variant, places in variants.items()}
        for way, variants in ranks.items()
    }


def _gain(before: _Ranks, after: _Ranks, ways: Sequence[str], asked: Sequence[str]) -> Measure:
    """The mean difference of reciprocal ranks, of each question over ways and variants."""
    import numpy as np

    differences = [
        [
            _reciprocal(new) - _reciprocal(old)
            for old, new in zip(before[way][variant], after[way][variant], strict=True)
        ]
        for way in ways
        for variant in Variant
    ]
    return mean_with_interval(np.mean(np.array(differences), axis=0), asked)


def _reciprocal(rank: int | None) -> float:
    return 0.0 if rank is None else 1 / rank


def _embedded_anew(
    connection: Connection, library: Library, encoder: Encoder, questions: Questions, progress: Progress
) -> Library:
    import numpy as np

    numbers = library.numbers.tolist()
    texts: dict[int, list[str]] = {}
    for part in batched(numbers, _CHUNK):
        for known in load_known(connection, part):
            facts = held_out_of(known.facts, questions.held_out)
            texts[known.pk] = [space_of(space).text(facts) for space in TUNED_SPACES]
    progress.start(len(TUNED_SPACES) * len(numbers), "texts")
    rows: dict[Any, NDArray[np.float32]] = {}
    for place, space in enumerate(TUNED_SPACES):
        parts = []
        for part in batched(numbers, _CHUNK):
            parts.append(encoder.encode([texts[number][place] for number in part]))
            progress.advance(len(part))
        rows[space] = np.concatenate([np.empty((0, encoder.identity.dimension), dtype=np.float32), *parts])
    return library.with_vectors(encoder, rows)


def _tags(connection: Connection, numbers: Sequence[int]) -> dict[int, frozenset[str]]:
    return {
        known.pk: frozenset(tag.casefold() for tag in known.facts.tags)
        for part in batched(numbers, _CHUNK)
        for known in load_known(connection, part)
    }


def _alike(library: Library, tags: Mapping[int, frozenset[str]], models: Mapping[int, str]) -> float:
    """The mean share of tags in common with the ten nearest adapters of other models (Jaccard), 0..1."""
    import numpy as np

    numbers = library.numbers.tolist()
    likeness = library.likeness(default_weights())
    shares: list[float] = []
    for place, number in enumerate(numbers):
        if not tags[number]:
            continue
        order = np.argsort(-likeness[place], kind="stable")
        others = (numbers[other] for other in order.tolist() if models[numbers[other]] != models[number])
        nearest = [other for _, other in zip(range(_NEAREST), others, strict=False)]
        shares += [len(tags[number] & tags[other]) / len(tags[number] | tags[other]) for other in nearest]
    return float(np.mean(shares)) if shares else 0.0
