"""What was learned from use, as a question needs it: loaded before the answer, so that the answer is kept under it.

Belongs here: which of what was learned concerns a question. Does not: deriving it (`warehouse.learning`), what it is
worth (`ranking`).

Use changes what recommendations say, and happens all the time. So it is a part of the question here, and no counter of
changes: an answer is kept for those who would get the same one, and a delivery overtakes only the answers about the
adapters that it used, once it has been learned from.
"""

from dataclasses import dataclass

from sqlalchemy import Connection

from warehouse import learning


@dataclass(frozen=True, slots=True)
class Learned:
    """What is known from use beyond the library itself. As it is by default, answers are those of a new library."""

    together: tuple[tuple[int, int], ...] = ()
    """(number, uses) of the adapters that were used together with the one that was asked about, by number."""


NOTHING = Learned()


def about(connection: Connection, adapter_pk: int) -> Learned:
    """What concerns a question about an adapter; one look-up of at most `learning.PARTNERS` rows."""
    return Learned(together=tuple(learning.partners_of(connection, adapter_pk).items()))
