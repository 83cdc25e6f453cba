"""Asking the current word index, and what is newer than it: follows the pointer, and does without where there is none.

Does not belong here: the files (`index`), and which adapters are newer (`newer`).
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from threading import Lock
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from warehouse.engine import Database
from warehouse.generations import OnItsWayError, Published, at_hand, current, current_pk, require_whole
from warehouse.lexical.index import FieldScores, Hit, LexicalIndex
from warehouse.lexical.newer import NOTHING, Newer
from warehouse.lexical.publishing import INDEX_FOLDER, KIND, counts_of, load_prompts, load_states, source
from warehouse.lexical.tokens import Field, Terms
from warehouse.queries import changes
from warehouse.queries.changes import Changes
from warehouse.settings import Settings
from warehouse.vectors.filters import SearchFilter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_CANDIDATES = 3_200
"""So many are asked of the index at most, however few of them pass the filter."""
_MAX_FRAGMENTS = 32
"""Parts of a prompt that are looked for in example prompts."""
_GROWTH = 4
_REOPEN_SECONDS = 10.0
"""A new generation that could not be opened is tried again after so long; until then the one before it answers."""
_ON_ITS_WAY_SECONDS = 0.5
"""One that is being got from a store is looked for again after so long."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Open:
    """A generation as it is read, with what is newer than it."""

    pk: int
    index: LexicalIndex
    lengths: Mapping[Field, float]
    indexed: NDArray[np.void]
    since: datetime
    """When its adapters were read."""
    prompts: NDArray[np.uint16] | None = None
    """How many example prompts each adapter in it has; None in a generation of before these were counted."""
    counted: Changes | None = None
    """The counters of changes when `newer` was last looked for."""
    newer: Newer = NOTHING

    @classmethod
    def of(cls, published: Published) -> _Open:
        """Open a generation.

        Raises:
            OSError: it is damaged, or its files are gone.
        """
        require_whole(published)
        manifest = published.manifest
        return cls(
            pk=published.pk,
            index=LexicalIndex(published.path / INDEX_FOLDER, manifest["weights"]),
            lengths=manifest["lengths"],
            indexed=load_states(published.path),
            since=datetime.fromisoformat(manifest["read_at"]),
            prompts=load_prompts(published.path) if manifest["source"] == source() else None,
        )


class Words:
    """The word index as it is at one moment, with what is newer; asked over one connection, for one question."""

    def __init__(self, connection: Connection, current: _Open | None, *, is_current: bool = True) -> None:
        self._connection, self._current = connection, current
        self.is_current = is_current
        """Whether this is the published index, or none was; otherwise it cannot be opened, for now."""

    def over(self, connection: Connection) -> Words:
        """The same moment, asked over another connection."""
        return Words(connection, self._current, is_current=self.is_current)

    @property
    def is_complete(self) -> bool:
        """Whether every adapter as it is now is looked at; otherwise new ones are to be found in another way."""
        return self._current is not None and self._current.newer.complete

    def search(self, terms: Terms, k: int, narrowed: SearchFilter) -> list[Hit]:
        """The `k` adapters that say most of what is asked, among those that pass; the best first.

        Nothing where none was published yet, or where the index is damaged: vectors and full text answer without it.
        """
        current = self._current
        if current is None:
            return []
        beside = self._beside(terms)
        asked = k
        while True:
            found = current.index.search(terms, asked, base_model=narrowed.base_model)
            hits = [hit for hit in found if hit.number not in current.newer.documents] + beside
            passing = narrowed.passing(self._connection, [hit.number for hit in hits])
            kept = sorted((hit for hit in hits if hit.number in passing), key=lambda hit: (-hit.score, hit.number))
            if len(kept) >= k or len(found) < asked or asked >= MAX_CANDIDATES:
                return kept[:k]
            asked = min(MAX_CANDIDATES, asked * _GROWTH)

    @property
    def tells_all(self) -> bool:
        """Whether there is an index that says all that is looked at where candidates are put in order."""
        return self._current is not None and self._current.prompts is not None

    @property
    def count(self) -> int:
        """The adapters that are looked at, roughly: what was replaced since may count twice."""
        return 0 if self._current is None else self._current.index.count + len(self._current.newer.documents)

    def scores_by_field(self, terms: Terms, scores: Mapping[int, float]) -> dict[int, FieldScores]:
        """What each field by itself says of adapters whose scores (`search`) are known."""
        current = self._current
        if current is None or current.prompts is None:
            return {}
        newer = current.newer.documents
        known = {number: score for number, score in scores.items() if number not in newer}
        beside = [newer[number] for number in scores if number in newer]
        return current.index.scores_by_field(terms, known) | current.index.scores_by_field_beside(
            terms, beside, current.lengths
        )

    def prompts_of(self, numbers: Sequence[int]) -> dict[int, int]:
        """How many example prompts given adapters have, as far as that is known."""
        current = self._current
        if current is None or current.prompts is None:
            return {}
        newer = current.newer.documents
        known = counts_of(current.indexed, current.prompts, [number for number in numbers if number not in newer])
        return known | {number: newer[number].prompts for number in numbers if number in newer}

    def count_of(self, word: str) -> int | None:
        """How many adapters are called by a folded word; None without an index."""
        return None if self._current is None else self._current.index.count_of("named", word)

    def fragments_of(self, fragments: Sequence[str], numbers: Sequence[int], *, limit: int) -> dict[int, list[str]]:
        """Which fragments the example prompts of given adapters have: for each adapter at most `limit`, the rarest."""
        found: dict[int, list[str]] = {number: [] for number in numbers}
        current = self._current
        if current is None or not numbers:
            return found
        newer = {
            number: set(current.newer.documents[number].terms["fragments"])
            for number in numbers
            if number in current.newer.documents
        }
        for fragment in current.index.rare("fragments", fragments, _MAX_FRAGMENTS):
            having = current.index.having("fragments", fragment, numbers) - newer.keys()
            having |= {number for number, own in newer.items() if fragment in own}
            for number in having:
                found[number].append(fragment)
        return {number: each[:limit] for number, each in found.items()}

    def _beside(self, terms: Terms) -> list[Hit]:
        current = self._current
        if current is None or not current.newer.documents:
            return []
        scores = current.index.score_beside(terms, list(current.newer.documents.values()), current.lengths)
        return [Hit(number, score) for number, score in scores.items() if score > 0]


class LexicalSearcher:
    """Keeps the current word index open; one per process, safe to use from several threads."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database, self._settings = database, settings
        self._lock = Lock()
        self._open: _Open | None = None
        self._reopen_at = 0.0

    def now(self, connection: Connection) -> Words:
        """The words of this moment."""
        pointer = current_pk(connection, KIND)
        known = self._current(connection, pointer)
        return Words(connection, known, is_current=pointer == (None if known is None else known.pk))

    @property
    def is_damaged(self) -> bool:
        """Whether questions have found the open index damaged."""
        known = self._open
        return known is not None and known.index.is_damaged

    def _current(self, connection: Connection, pointer: int | None) -> _Open | None:
        counted = changes.counted(connection)
        with self._lock:
            known = self._open
            moved = pointer is not None and pointer != (known.pk if known is not None else None)
            if moved and time.monotonic() >= self._reopen_at:
                known = self._opened() or known
            if known is not None and counted != known.counted:
                newer = known.newer.advanced(connection, known.indexed, known.since)
                known = replace(known, counted=counted, newer=newer)
            self._open = known
            return None if known is None or known.index.is_damaged else known

    def _opened(self) -> _Open | None:
        try:
            published = current(self._database, self._settings, KIND)
            if published is None:
                return None
            # With an older index to answer from, nobody waits for a download.
            return _Open.of(at_hand(self._database, self._settings, published, wait=self._open is None))
        except OnItsWayError:
            self._reopen_at = time.monotonic() + _ON_ITS_WAY_SECONDS
            return None
        except OSError:
            self._reopen_at = time.monotonic() + _REOPEN_SECONDS
            _log.exception("the current word index cannot be opened; questions are answered without it")
            return None
