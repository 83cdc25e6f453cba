"""The recommender of this process: opened in the background at the start, followed to newer indexes.

Belongs here: opening, readiness. Does not: how results are ranked and explained (`ranking`), and similarity itself
(`warehouse.vectors`).
"""

import logging
import threading
from dataclasses import dataclass

from warehouse.engine import Database
from warehouse.settings import Settings

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class IndexState:
    """Whether recommendations can be asked for."""

    status: str
    detail: str


class RecommendationService:
    """Owns the recommender of a process."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._lock = threading.Lock()

    def start(self) -> None:
        pass

    def stop(self) -> None:
        pass

    def state(self) -> IndexState:
        return IndexState("absent", "nothing published")
