"""How a long function tells how far it is. Who shows it (a terminal, a log, nobody) decides how.

Does not belong here: bars, logs, rates; those are made where they are shown.
"""

from typing import Protocol


class Progress(Protocol):
    """Receives the progress of one stage."""

    def start(self, total: int | None, unit: str) -> None:
        """A phase begins: `total` units of work, None when nobody can know yet."""

    def advance(self, amount: int = 1) -> None:
        """So many units more are done, and committed where the work is written to the database."""


class Silence:
    """The progress of a function that nobody watches."""

    def start(self, total: int | None, unit: str) -> None:
        """Nothing is shown."""

    def advance(self, amount: int = 1) -> None:
        """Nothing is shown."""
