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
from warehouse.learning import Profile
from warehouse.settings import Settings


@dataclass(frozen=True, slots=True)
class Learned:
    """What is known from use beyond the library itself. As it is by default, answers are those of a new library."""

    together: tuple[tuple[int, int], ...] = ()
    """(number, uses) of the adapters that were used together with the one that was asked about, by number."""
    profile: Profile | None = None
    """What the holder of the key prefers that the question came with."""


NOTHING = Learned()


def about(
    connection: Connection,
    settings: Settings,
    *,
    adapter_pk: int | None = None,
    key_name: str | None = None,
    personal: bool = True,
) -> Learned:
    """What concerns a question: two look-ups, of at most `learning.PARTNERS` rows and of one.

    Args:
        adapter_pk: what is asked about; None: a prompt.
        key_name: of the API key that it came with.
        personal: whether what its holder prefers shall count.
    """
    if not settings.learn_from_use:
        return NOTHING
    return Learned(
        together=() if adapter_pk is None else tuple(learning.partners_of(connection, adapter_pk).items()),
        profile=learning.profile_of(connection, key_name) if personal else None,
    )
