"""What jobs say in the activity feed: each one while they are few, a sum of them when they are many.

Belongs here: which rows are written. Does not: writing them (`lanes`).
"""

import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

from warehouse.jobs import Ended, JobKind
from warehouse.models import utc_now

PER_MINUTE = 10
"""Jobs that get a row of their own; a feed of thousands would hide everything else."""
SUM_SECONDS = 30.0
"""How often those beyond are told."""

_NOUNS = {JobKind.DELIVERY: ("delivery", "deliveries"), JobKind.GENERATION: ("generation", "generations")}


class Feed:
    """The rows of one lane."""

    def __init__(self, kind: JobKind, mode: str) -> None:
        self._kind, self._mode = kind, mode
        self._minute, self._left = 0.0, PER_MINUTE
        self._summed: Counter[str] = Counter()
        self._told_at = time.monotonic()

    def rows(self, ended: Sequence[Ended]) -> list[dict[str, Any]]:
        """The rows of jobs that ended just now."""
        now = time.monotonic()
        if now - self._minute > 60:
            self._minute, self._left = now, PER_MINUTE
        alone, self._left = ended[: self._left], max(0, self._left - len(ended))
        self._summed.update(each.status.value for each in ended[len(alone) :])
        return [self._row(each) for each in alone]

    def due(self) -> list[dict[str, Any]]:
        """The sum, if it is time for it."""
        return self.flush() if time.monotonic() - self._told_at > SUM_SECONDS else []

    def flush(self) -> list[dict[str, Any]]:
        """The sum of what was not told yet."""
        self._told_at = time.monotonic()
        summed, self._summed = self._summed, Counter()
        if not summed:
            return []
        counts = ", ".join(f"{number:,} {status}" for status, number in sorted(summed.items()))
        noun = _NOUNS[self._kind][summed.total() > 1]
        summary = f"{summed.total():,} more {noun} by {self._mode}: {counts}"
        return [self._of(None, summary, {"mode": self._mode, "counts": dict(summed)})]

    def _row(self, ended: Ended) -> dict[str, Any]:
        why = f": {ended.error}" if ended.error else ""
        summary = f"{_NOUNS[self._kind][0]} by {self._mode} {ended.status.value}{why}"
        return self._of(ended.job.id, summary, {"mode": self._mode, "status": ended.status.value})

    def _of(self, subject_id: str | None, summary: str, data: dict[str, Any]) -> dict[str, Any]:
        return {"at": utc_now(), "kind": self._kind.value, "subject_id": subject_id, "summary": summary, "data": data}
