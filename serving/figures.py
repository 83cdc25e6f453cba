"""Published figures, kept in the process so that no request reads a file again while nothing new is published.

Belongs here: the summary of the library and the first rows of other published tables. Does not: figures that a counter
or an index gives at once, and the machine's (`machine`).
"""

import logging
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from warehouse import generations
from warehouse.engine import Database
from warehouse.generations import Published
from warehouse.settings import Settings

MARTS = "marts/analytics"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PublishedFigures:
    """The one row of the published summary of the library."""

    at: datetime | None = None
    values: dict[str, Any] = field(default_factory=dict)


class Figures:
    """The published figures of one process; safe in any number of threads."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings

    def current(self) -> Published | None:
        """The current publication of the marts."""
        return generations.current(self._database, self._settings, MARTS)

    def published(self) -> PublishedFigures:
        """The published summary; empty before the first publication, and while its files cannot be read."""
        current = self.current()
        rows = self.rows(current, "library_summary", limit=1)
        return PublishedFigures(current.created_at, rows[0]) if current is not None and rows else PublishedFigures()

    def rows(self, current: Published | None, mart: str, *, limit: int) -> list[dict[str, Any]]:
        """The first rows of a mart; none where it is not published or its files cannot be read."""
        from warehouse.marts import read_mart

        if current is None or mart not in current.manifest["marts"]:
            return []
        try:
            # Rows of a generation are remembered by the mart's own reader: it never changes.
            return read_mart(self._database, self._settings, mart, limit=limit)
        except (OSError, LookupError, ValueError):
            # A publication whose files are gone or damaged must not take the live figures with it.
            _log.exception("the published table %s cannot be read", mart)
            return []
