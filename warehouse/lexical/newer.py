"""Adapters that changed since the word index was made, held in memory and scored beside it until the next one has them.

Which ones changed is seen from their content: what was only counted, rated or activated is in the index as it is.
Bounded: with more of them than are held, the answer says that it is not complete.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import Connection, select

from warehouse.lexical.publishing import content_of, documents
from warehouse.lexical.tokens import Document
from warehouse.models import Adapter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_ADAPTERS = 500
_MAX_LOOKED_AT = 2_000
_OVERLAP = timedelta(minutes=10)
"""A transaction writes the time of its statements and may commit so much later."""


@dataclass(frozen=True, slots=True)
class Newer:
    """Documents as they are now by number, with what their content was; immutable."""

    documents: Mapping[int, Document]
    contents: Mapping[int, int]
    complete: bool

    def advanced(self, connection: Connection, indexed: NDArray[np.void], since: datetime) -> Newer:
        """What is newer now than an index whose adapters were read at a time; only what is not held yet is loaded.

        Args:
            indexed: the adapters that the index has, with their contents (`publishing.STATES_FILE`).
        """
        changed, all_seen = _changed(connection, indexed, since)
        numbers = sorted(changed, reverse=True)[:MAX_ADAPTERS]
        held = [number for number in numbers if self.contents.get(number) == changed[number]]
        held_now = {number: self.documents[number] for number in held}
        missing = sorted(set(numbers) - held_now.keys())
        loaded = {document.number: document for document in documents(connection, missing)}
        return Newer(
            documents=held_now | loaded,
            contents={number: changed[number] for number in numbers},
            complete=all_seen and len(numbers) == len(changed),
        )


NOTHING = Newer({}, {}, complete=True)


def _changed(connection: Connection, indexed: NDArray[np.void], since: datetime) -> tuple[dict[int, int], bool]:
    """The content of adapters that the index has not, or not as they are; whether all of them were looked at."""
    import numpy as np

    rows = connection.execute(
        select(Adapter.pk, Adapter.content_digest, Adapter.updated_at)
        .where(Adapter.updated_at > since - _OVERLAP)
        .order_by(Adapter.updated_at.desc())
        .limit(_MAX_LOOKED_AT + 1)
    ).all()
    numbers = indexed["number"]
    changed = {}
    for pk, digest, _ in rows:
        place = int(np.searchsorted(numbers, pk))
        content = content_of(digest)
        if place == len(numbers) or numbers[place] != pk or int(indexed["content"][place]) != content:
            changed[pk] = content
    # The latest come first. Before the time itself a large sync wrote many, which the index has.
    return changed, len(rows) <= _MAX_LOOKED_AT or rows[-1].updated_at <= since
