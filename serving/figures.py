"""Figures that need a scan, kept in the process so that no request pays for one again while nothing changed.

Belongs here: the published summary (kept until the next publication), the devices (found once). Does not: figures that
a counter or an index gives at once.
"""

import logging
import threading
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from warehouse import generations
from warehouse.engine import Database
from warehouse.settings import Settings

if TYPE_CHECKING:
    from warehouse.vectors.devices import Device

_MARTS = "marts/analytics"
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class PublishedFigures:
    """The one row of the published summary of the library."""

    at: datetime | None = None
    values: dict[str, Any] = field(default_factory=dict)


class Figures:
    """The kept figures of one process; safe in any number of threads."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._lock = threading.Lock()
        self._published: tuple[int, PublishedFigures] | None = None
        self._devices: list[Device] | None = None

    def published(self) -> PublishedFigures:
        """The published summary; empty before the first publication."""
        current = generations.current(self._database, self._settings, _MARTS)
        if current is None:
            return PublishedFigures()
        with self._lock:
            if self._published is None or self._published[0] != current.pk:
                values = self._read_summary()
                if values is None:
                    # Not kept: the files may be back with the next question.
                    return PublishedFigures()
                self._published = (current.pk, PublishedFigures(current.created_at, values))
            return self._published[1]

    def _read_summary(self) -> dict[str, Any] | None:
        from warehouse.marts import read_mart

        try:
            rows = read_mart(self._database, self._settings, "library_summary", limit=1)
        except (OSError, LookupError, ValueError):
            # A publication whose files are gone or damaged must not take the live figures with it.
            _log.exception("the published summary cannot be read")
            return None
        return rows[0] if rows else None

    def devices(self) -> "list[Device]":
        """The devices of this machine, the best first. The first call may ask the driver's tool."""
        with self._lock:
            if self._devices is None:
                from warehouse.vectors.devices import detect_devices

                self._devices = detect_devices()
            return self._devices
