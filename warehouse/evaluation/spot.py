"""A quick look at a word index: do prompts of a sample of adapters find them, when the adapters are scored without?

Nothing is indexed anew for it: the adapter that is asked for is scored as it would be without the prompt, and all
others as they are. So a publication can afford it, whatever the size of the library. Does not belong here: the
thorough measurement (`evaluating`), which also holds out duplicates and looks at vectors.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice

from sqlalchemy import Connection, func, select

from warehouse import prompts
from warehouse.evaluation.metrics import DEPTH, Measure, measure
from warehouse.evaluation.questions import held_out_of, key_of, models_of_some, prompts_worth_asking
from warehouse.lexical import tokens
from warehouse.lexical.index import LexicalIndex
from warehouse.lexical.tokens import Field
from warehouse.models import Adapter
from warehouse.vectors.loading import Known, load_known
from warehouse.vectors.stored import batched

SAMPLE = 256
"""Adapters that are asked for."""
_LOOKED_AT = 8 * SAMPLE
_CHUNK = 128
_SCATTER, _RANGE = 40_503, 65_521
_DEEP = 8 * DEPTH
"""Adapters of an answer: ten models with their versions."""


@dataclass(frozen=True, slots=True)
class SpotCheck:
    """recall@10 of the words alone, over so many adapters."""

    recall_at_10: Measure
    queries: int


def spot_check(connection: Connection, index: LexicalIndex, lengths: Mapping[Field, float]) -> SpotCheck:
    """Ask an index one prompt of each of a sample of the adapters that have any. The same adapters every time, as far
    as they are still there.

    Args:
        lengths: terms that documents of the index have of each field, on average.
    """
    asked = list(islice(_asked(connection), SAMPLE))
    ranks = [_rank(connection, index, lengths, known, prompt) for known, prompt in asked]
    figures = measure(ranks, [str(known.pk) for known, _ in asked])
    return SpotCheck(figures.recall_at_10, len(asked))


def _asked(connection: Connection) -> Iterator[tuple[Known, str]]:
    """Adapters, each with its first prompt that is worth asking."""
    for known in _sample(connection):
        if prompt := next(prompts_worth_asking(known.facts), None):
            yield known, prompt


def _sample(connection: Connection) -> Iterator[Known]:
    total = connection.execute(select(func.count()).select_from(Adapter)).scalar_one()
    share = max(1, total // _LOOKED_AT)
    # A multiplicative hash of the number: a sample that stays the same while others come and go.
    scattered = (Adapter.pk * _SCATTER) % _RANGE
    numbers = connection.execute(
        select(Adapter.pk).where(scattered % share == 0).order_by(scattered, Adapter.pk).limit(_LOOKED_AT)
    ).scalars()
    for part in batched(list(numbers), _CHUNK):
        found = {known.pk: known for known in load_known(connection, part)}
        yield from (found[number] for number in part if number in found)


def _rank(
    connection: Connection, index: LexicalIndex, lengths: Mapping[Field, float], known: Known, prompt: str
) -> int | None:
    terms = tokens.asked(prompts.parse(prompt))
    without = tokens.document(known.pk, held_out_of(known.facts, frozenset({key_of(prompt)})))
    own = index.score_beside(terms, [without], lengths)[known.pk]
    if own <= 0:
        return None
    better = [hit.number for hit in index.search(terms, _DEEP) if hit.score > own and hit.number != known.pk]
    models = models_of_some(connection, [known.pk, *better])
    # Another version of the model is as good an answer; it stands before the adapter, or not at all.
    ranked = dict.fromkeys(models[number] for number in better if number in models)
    place = next((place for place, model in enumerate(ranked, 1) if model == models[known.pk]), len(ranked) + 1)
    return place if place <= DEPTH or len(better) < _DEEP else None
