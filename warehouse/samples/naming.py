"""Names that no two sample adapters share.

Belongs here: uniqueness of names and file names. Does not: inventing them (`subjects`).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from random import Random

from warehouse.samples.subjects import Subject, invent

_ATTEMPTS = 4


class Names:
    """Remembers what was given out."""

    def __init__(self) -> None:
        self._given: Counter[str] = Counter()

    def subject(self, random: Random) -> Subject:
        """A subject whose name and file name are new; the vocabulary exhausted, a number tells them apart."""
        for _ in range(_ATTEMPTS):
            subject = invent(random)
            if not self._given[subject.stem]:
                break
        self._given[subject.stem] += 1
        number = self._given[subject.stem]
        if number == 1:
            return subject
        return replace(subject, name=f"{subject.name} {number}", stem=f"{subject.stem}_no{number}")
