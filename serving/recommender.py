"""The recommender of this process, opened in the background: loading a model takes seconds, and few routes need it.

Belongs here: opening, readiness, trying again. Does not: asking it (`recommending`). Following newer indexes is the
recommender's own affair (`warehouse.vectors.search`).
"""

import logging
import threading
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

from serving.problems import Problem
from warehouse import generations
from warehouse.engine import Database
from warehouse.generations import Published
from warehouse.settings import Settings

if TYPE_CHECKING:
    from warehouse.vectors.search import Recommender

INDEX = "indices/recommend"
_RETRY_SECONDS = 10.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RecommenderState:
    """Whether recommendations can be asked for."""

    status: str
    """loading, ready, failed, or absent: ready, but nothing has been published that could be recommended from."""
    detail: str
    published: Published | None = None


class SharedRecommender:
    """Opens the recommender once, and hands it out when it is open."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._open_until_open, name="recommender", daemon=True)
        self._opened: Recommender | None = None
        self._problem: str | None = None

    def start(self) -> None:
        """Begin to open it."""
        self._thread.start()

    def stop(self) -> None:
        """Give up opening it; a model that is being loaded is loaded to its end, by a thread that nothing waits for."""
        self._stopping.set()

    def _open_until_open(self) -> None:
        while not self._stopping.is_set():
            try:
                self._opened = self._open()
                self._problem = None
                return
            except Exception as error:
                # Whatever it is (a model that is not there, a damaged index), the other routes go on.
                self._problem = f"{type(error).__name__}: {error}"
                _log.exception("the recommender could not be opened; trying again in %d s", _RETRY_SECONDS)
            self._stopping.wait(_RETRY_SECONDS)

    def _open(self) -> "Recommender":
        from warehouse.vectors.search import Recommender

        recommender = Recommender(self._database, self._settings)
        # The first question loads the models and the index: it is asked here, so that no client waits for it.
        recommender.by_vectors(recommender.encode("warm up"), k=1)
        return recommender

    def state(self) -> RecommenderState:
        """The state of this moment."""
        try:
            published = generations.current(self._database, self._settings, INDEX)
        except SQLAlchemyError:
            return RecommenderState("failed", "the database does not answer")
        if self._opened is None:
            if self._problem is not None:
                return RecommenderState("failed", "it could not be opened; the log says why", published)
            return RecommenderState("loading", "models and index are being loaded", published)
        if published is None:
            return RecommenderState("absent", "no index has been published yet: run `lora-manager sync`")
        return RecommenderState("ready", f"{published.name}, {published.manifest.get('n', 0)} adapters", published)

    def get(self) -> "Recommender":
        """The recommender.

        Raises:
            Problem: 503, while it is not open.
        """
        if self._opened is not None:
            return self._opened
        if self._problem is not None:
            detail, wait = "the recommender could not be opened; the log says why, and it is tried again", "10"
        else:
            detail, wait = "the recommender is loading its models; ask again in a moment", "2"
        raise Problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            detail,
            kind="recommender-not-ready",
            title="Recommender not ready",
            headers={"Retry-After": wait},
        )
