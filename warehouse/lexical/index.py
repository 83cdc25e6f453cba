"""The inverted index: written into a folder, opened, asked. Files and ranking are Tantivy's (BM25, block-max WAND).

Does not belong here: which adapters are in it (`publishing`) and which index is the current one (`searching`).
"""

from __future__ import annotations

import itertools
import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.lexical.tokens import FIELDS, Document, Field, Terms

if TYPE_CHECKING:
    import tantivy

WEIGHTS: Mapping[Field, float] = {
    "name": 0.15,
    "phrases": 0.24,
    "described": 0.072,
    "words": 0.059,
    "pairs": 0.12,
    "fragments": 0.2,
}
"""What the BM25 score of a field is worth, where `fusion.SCALE` weighs as much as −log(1 − similarity) = 1.

Learned by `lora-manager evaluate --learn --queries 1500` on half of the models of 1,144 real documents; what it finds
on the other half stands in docs/recommendations.md.
"""

_K1, _B = 1.2, 0.75
_NUMBER, _BASE_MODEL = "number", "base_model"
_COSTLIEST: Field = "words"
_COMMON, _NEVER_COMMON = 20, 5
_HEAP_BYTES = 128 * 2**20
_ONE_SEGMENT_UP_TO = 20_000
"""Documents that one thread writes: a question looks at every segment, and few make it faster."""


FieldScores = tuple[float, ...]
"""The BM25 scores of an adapter by field, in the order of `WEIGHTS` and without these."""


@dataclass(frozen=True, slots=True)
class Hit:
    """An adapter that has terms of the question, and its weighted score: 0 upwards, comparable within a question."""

    number: int
    score: float


def write(folder: Path, documents: Iterable[Document], *, removed: Iterable[int] = (), expected: int = 0) -> None:
    """Write documents to a folder, as `writing` does."""
    with writing(folder, removed=removed, expected=expected) as add:
        for document in documents:
            add(document)


@contextmanager
def writing(folder: Path, *, removed: Iterable[int] = (), expected: int = 0) -> Iterator[Callable[[Document], object]]:
    """What adds a document to a folder: to the index that is there, or to a new one. All is written at the end.

    Args:
        removed: numbers of adapters whose documents, so far, go.
        expected: how many documents there will be, roughly.

    Raises:
        OSError: the disk is full, or the folder cannot be written to.
    """
    import tantivy

    schema = _schema()
    try:
        index = tantivy.Index(schema, str(folder))
        writer = index.writer(_HEAP_BYTES, 1 if expected <= _ONE_SEGMENT_UP_TO else 0)
        if gone := list(removed):
            # By query: by term, Tantivy takes a number of Python's for a signed one, and finds none.
            writer.delete_documents_by_query(tantivy.Query.term_set_query(schema, _NUMBER, gone))
        yield lambda document: writer.add_document(_row(document))
        writer.commit()
        writer.wait_merging_threads()
    except ValueError as error:
        # Tantivy has no other error than this one.
        raise OSError(f"the word index in {folder} cannot be written: {error}") from error
    for lock in folder.glob("*.lock"):
        lock.unlink()


def clone(source: Path, target: Path) -> None:
    """A copy of an index that can be written to while the other one is read: files that never change are shared."""
    for path in source.iterdir():
        if path.suffix == ".lock":
            continue
        if path.suffix == ".json" or path.name.startswith("."):
            shutil.copyfile(path, target / path.name)
            continue
        try:
            os.link(path, target / path.name)
        except OSError:
            # Some file systems have no hard links.
            shutil.copyfile(path, target / path.name)


@contextmanager
def _lockable(folder: Path) -> Iterator[Path]:
    """A place with the files of an index in which a lock file can be made, which Tantivy wants even for reading.

    Where the folder itself is read-only that is a temporary one with links, of which an open index needs nothing more.
    """
    if os.access(folder, os.W_OK) or not folder.is_dir():
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="lora-manager-words-") as place:
        for path in folder.iterdir():
            if path.suffix != ".lock":
                (Path(place) / path.name).symlink_to(path.resolve())
        yield Path(place)


class LexicalIndex:
    """An open index; safe to ask from several threads. Whatever is asked raises OSError where it meets damage."""

    def __init__(self, folder: Path, weights: Mapping[Field, float] = WEIGHTS) -> None:
        """Open what is in the folder.

        Args:
            weights: of fields that it has, where a question names none: one that was published is asked with those of
                its time, which may have known other fields.

        Raises:
            OSError: there is no index, or it is damaged.
        """
        import tantivy

        try:
            with _lockable(folder) as place:
                opened = tantivy.Index.open(str(place))
                # The files never change, so nothing needs to watch them.
                opened.config_reader("manual")
                self._searcher = opened.searcher()
                for field in ("named", *weights):
                    # Some files of a field are opened by its first question, too late to be found gone.
                    self._searcher.doc_freq(field, "a")
        except ValueError as error:
            raise OSError(f"the word index in {folder} cannot be opened: {error}") from error
        self._folder = folder
        self._weights = weights
        self._schema = opened.schema
        self.count: int = self._searcher.num_docs
        self.is_damaged = False
        """Whether a question has found damage that opening did not, which reads no file as a whole."""

    def search(
        self,
        terms: Terms,
        k: int,
        *,
        base_model: str | None = None,
        weights: Mapping[Field, float] | None = None,
    ) -> list[Hit]:
        """The `k` best adapters, of a base model where one is given; the best first, equals by number."""
        wanted = self._wanted(terms, weights)
        if not wanted or k < 1:
            return []
        required = [] if base_model is None else [self._term(_BASE_MODEL, base_model)]
        return self._ask(wanted, required, k)

    def score(
        self, terms: Terms, numbers: Sequence[int], *, weights: Mapping[Field, float] | None = None
    ) -> dict[int, float]:
        """The scores of given adapters, by number; those that have none of the terms are left out."""
        wanted = self._wanted(terms, weights)
        if not wanted or not numbers:
            return {}
        return {hit.number: hit.score for hit in self._ask(wanted, [self._one_of(numbers)], len(numbers))}

    def scores_by_field(
        self, terms: Terms, scores: Mapping[int, float], *, weights: Mapping[Field, float] | None = None
    ) -> dict[int, FieldScores]:
        """What each field by itself says of adapters whose scores for a question are known, from the same weights.

        The field with the most common terms, which takes longest to ask, is what the others leave of the score.
        """
        if not scores:
            return {}
        used = self._weights if weights is None else weights
        found = {number: dict.fromkeys(WEIGHTS, 0.0) for number in scores}
        left = dict(scores)
        among = self._one_of(scores)
        for field, weight in used.items():
            if field == _COSTLIEST or not (wanted := self._wanted(terms, {field: 1.0})):
                continue
            for hit in self._ask(wanted, [among], len(scores)):
                found[hit.number][field] = hit.score
                left[hit.number] -= weight * hit.score
        if weight := used.get(_COSTLIEST, 0.0):
            for number, score in left.items():
                found[number][_COSTLIEST] = max(0.0, score / weight)
        return {number: tuple(by_field[field] for field in WEIGHTS) for number, by_field in found.items()}

    def count_of(self, field: Field, term: str) -> int:
        """How many adapters have a term; those that were replaced may still count."""
        with self._damage_told():
            return min(self.count, self._searcher.doc_freq(field, term))

    def rare(self, field: Field, terms: Sequence[str], limit: int) -> list[str]:
        """The rarest of terms, at most `limit`, without those that more than one adapter in twenty has."""
        common = max(_NEVER_COMMON, self.count // _COMMON)
        counts = {term: self.count_of(field, term) for term in terms}
        # What no adapter of the index has may still stand in one that is newer.
        order = sorted(terms, key=lambda term: (counts[term] == 0, counts[term], term))
        return [term for term in order if counts[term] <= common][:limit]

    def having(self, field: Field, term: str, numbers: Sequence[int]) -> set[int]:
        """Those of given adapters that have a term."""
        return {hit.number for hit in self._ask([self._term(field, term)], [self._one_of(numbers)], len(numbers))}

    def score_beside(
        self,
        terms: Terms,
        documents: Sequence[Document],
        lengths: Mapping[Field, float],
    ) -> dict[int, float]:
        """The scores that documents would have in this index, by number: for adapters that are newer than it.

        Args:
            lengths: terms that its documents have of each field, on average.
        """
        weights = self._weights
        rarity = self._rarities(terms, weights)
        return {
            document.number: sum(
                weight * _bm25(document, field, rarity[field], lengths) for field, weight in weights.items()
            )
            for document in documents
        }

    def scores_by_field_beside(
        self, terms: Terms, documents: Sequence[Document], lengths: Mapping[Field, float]
    ) -> dict[int, FieldScores]:
        """What each field by itself would say of them."""
        rarity = self._rarities(terms, WEIGHTS)
        return {
            document.number: tuple(_bm25(document, field, rarity[field], lengths) for field in WEIGHTS)
            for document in documents
        }

    def _rarities(self, terms: Terms, fields: Iterable[Field]) -> dict[Field, dict[str, float]]:
        return {field: {term: self._rarity(field, term) for term in terms.get(field, ())} for field in fields}

    def _rarity(self, field: Field, term: str) -> float:
        found = self.count_of(field, term)
        return math.log1p((self.count - found + 0.5) / (found + 0.5))

    def _term(self, field: str, value: Any) -> tantivy.Query:
        import tantivy

        return tantivy.Query.term_query(self._schema, field, value, index_option="freq")

    def _one_of(self, numbers: Iterable[int]) -> tantivy.Query:
        import tantivy

        # Not a query of a set of terms: that walks all terms of the field, which takes eight times as long.
        each = [(tantivy.Occur.Should, self._term(_NUMBER, number)) for number in numbers]
        return tantivy.Query.boolean_query(each)

    def _wanted(self, terms: Terms, weights: Mapping[Field, float] | None) -> list[tantivy.Query]:
        import tantivy

        return [
            tantivy.Query.boost_query(self._term(field, term), weight)
            for field, weight in (self._weights if weights is None else weights).items()
            if weight
            for term in terms.get(field, ())
        ]

    def _ask(self, wanted: Sequence[tantivy.Query], required: Sequence[tantivy.Query], k: int) -> list[Hit]:
        import tantivy

        any_of = [(tantivy.Occur.Should, query) for query in wanted]
        if required:
            # What is required says nothing of how well it fits.
            plain = [(tantivy.Occur.Must, tantivy.Query.const_score_query(query, 0.0)) for query in required]
            query = tantivy.Query.boolean_query([*plain, (tantivy.Occur.Must, tantivy.Query.boolean_query(any_of))])
        else:
            query = tantivy.Query.boolean_query(any_of)
        with self._damage_told():
            found = self._searcher.search(query, min(k, max(1, self.count)), count=False).hits
            numbers = self._searcher.fast_field_values(_NUMBER, [address for _, address in found])
        hits = [Hit(int(number or 0), float(score)) for number, (score, _) in zip(numbers, found, strict=True)]
        return sorted(hits, key=lambda hit: (-hit.score, hit.number))

    @contextmanager
    def _damage_told(self) -> Iterator[None]:
        """Tantivy's complaints about its files as OSError."""
        try:
            yield
        except UnicodeEncodeError:
            # What was asked is no text: that says nothing of the files.
            raise
        except BaseException as error:
            # Tantivy checks no sums when it reads, and panics at impossible blocks; that class cannot be imported.
            if not isinstance(error, ValueError) and type(error).__name__ != "PanicException":
                raise
            self.is_damaged = True
            raise OSError(f"the word index in {self._folder} is damaged: {error}") from error


_MAX_FIELD_TERMS = 20_000
"""Terms of an adapter and field; what is beyond is no description of anything."""


def _bm25(document: Document, field: Field, rarity: Mapping[str, float], lengths: Mapping[Field, float]) -> float:
    """The formula of Tantivy: Robertson and Zaragoza, 2009, at its usual constants."""
    counts = document.counts[field]
    damping = _K1 * (1 - _B + _B * len(document.terms[field]) / max(1.0, lengths.get(field, 1.0)))
    # Sorted, so that a sum does not depend on the order of a set.
    shared = sorted(counts.keys() & rarity.keys())
    return sum(rarity[term] * counts[term] * (_K1 + 1) / (counts[term] + damping) for term in shared)


def _schema() -> tantivy.Schema:
    import tantivy

    builder = tantivy.SchemaBuilder()
    builder.add_unsigned_field(_NUMBER, indexed=True, fast=True)
    builder.add_text_field(_BASE_MODEL, tokenizer_name="raw", index_option="basic")
    for field in FIELDS:
        # Terms come ready; how often they occur is all that is kept of where they stood.
        builder.add_text_field(field, tokenizer_name="whitespace", index_option="freq")
    return builder.build()


def _row(document: Document) -> tantivy.Document:
    import tantivy

    row = tantivy.Document()
    row.add_unsigned(_NUMBER, document.number)
    if document.base_model is not None:
        row.add_text(_BASE_MODEL, document.base_model)
    for field in FIELDS:
        terms = document.terms[field]
        if terms:
            row.add_text(field, " ".join(itertools.islice(terms, _MAX_FIELD_TERMS)))
    return row
