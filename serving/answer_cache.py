"""Recommendations answered again while nothing of what they came from has changed.

Belongs here: what makes two questions the same, keeping answers, counting hits. Does not: computing answers
(`recommending`), statements (`warehouse.queries.recommendations`), signatures, which expire and are never kept.

The key of an answer holds the published index and the counters of changes, read before the answer is computed; so what
is found under the key of this moment is what would be computed now. Nobody waits for a write: answers are kept in
batches by a thread, and a batch that cannot be written (a sync holds the database) is given up.
"""

import hashlib
import logging
import threading
import time
import zlib
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import Any

import msgspec
from sqlalchemy.exc import SQLAlchemyError

from serving.learning import NOTHING, Learned
from serving.recommending import Answer, Wish
from serving.version import VERSION
from warehouse.engine import Database
from warehouse.ids import new_id
from warehouse.queries import recommendations
from warehouse.settings import Settings

_FORMAT = 6
"""Of what is kept and of how answers are computed; a change of either raises it."""
_FLUSH_SECONDS = 1.0
"""One write transaction in so long at most."""
_MAX_WAITING = 128
"""Answers that wait to be written; beyond, new ones are not kept."""
_MAX_BYTES = 64 * 1024
"""Of one answer, deflated: a hundred recommendations take about 20 KB."""
_STOP_SECONDS = 2.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Question:
    """What an answer answers: an adapter by number, or a prompt; what is wished of it, and what was learned so far."""

    wish: Wish
    adapter_pk: int | None = None
    prompt: str | None = None
    learned: Learned = NOTHING


@dataclass(frozen=True, slots=True)
class CacheFigures:
    """How the cache does; hits and misses are those of this process."""

    enabled: bool
    ttl_seconds: int
    entries: int
    hits: int
    misses: int
    hit_rate: float | None


class AnswerCache:
    """Answers of one installation, shared by its processes; safe in any number of threads."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings
        self._lifetime = timedelta(seconds=settings.recommendation_cache_seconds)
        self._lock = threading.Lock()
        self._waiting: dict[str, tuple[Question, Answer]] = {}
        self._hits = self._misses = 0
        self._producers: dict[str, str] | None = None
        self._work = threading.Event()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep_until_stopped, name="answer-cache", daemon=True)

    def start(self) -> None:
        """Begin to keep answers."""
        if self._lifetime:
            self._thread.start()

    def stop(self) -> None:
        """Stop; what waits to be kept is given up, and so is a write that takes long."""
        self._stopping.set()
        self._work.set()
        if self._thread.is_alive():
            self._thread.join(_STOP_SECONDS)

    def ask(self, question: Question, compute: Callable[[], Answer]) -> Answer:
        """The kept answer, or else a computed one, which is then kept. Whatever `compute` raises passes through."""
        digest = self._digest(question) if self._lifetime else None
        if digest is None:
            return compute()
        began = time.perf_counter()
        with self._database.read() as connection:
            generation = recommendations.current_generation(connection)
            key = recommendations.origin(connection, generation) + digest
            with self._lock:
                waiting = self._waiting.get(key)
            kept = waiting[1] if waiting is not None else _decoded(recommendations.find(connection, key), generation)
        with self._lock:
            self._hits += kept is not None
            self._misses += kept is None
        if kept is not None:
            return replace(kept, seconds=time.perf_counter() - began, cached=True)
        answer = compute()
        # A damaged new index leaves the one before it answering: such an answer is none of the published index.
        if answer.lasting and answer.generation == generation:
            self._put(key, question, answer)
        return answer

    def figures(self) -> CacheFigures:
        """How it does."""
        with self._database.read() as connection:
            entries = recommendations.count(connection)
        with self._lock:
            hits, misses = self._hits, self._misses
        return CacheFigures(
            enabled=bool(self._lifetime),
            ttl_seconds=int(self._lifetime.total_seconds()),
            entries=entries,
            hits=hits,
            misses=misses,
            hit_rate=hits / (hits + misses) if hits + misses else None,
        )

    def _digest(self, question: Question) -> str | None:
        """The question in short; None where its models cannot be named, and so its answer not be kept."""
        if self._producers is None:
            from warehouse.vectors import tuned
            from warehouse.vectors.encoders import EncoderError
            from warehouse.vectors.work import producers_of

            try:
                settings = tuned.in_use(self._database, self._settings)
                self._producers = {space.value: producer for space, producer in producers_of(settings).items()}
            except EncoderError:
                return None
        answered_by = [_FORMAT, VERSION, self._producers, self._settings.rerank]
        asked = msgspec.json.encode([*answered_by, asdict(question)], order="deterministic")
        return _hash(asked)

    def _put(self, key: str, question: Question, answer: Answer) -> None:
        with self._lock:
            if len(self._waiting) < _MAX_WAITING:
                self._waiting[key] = (question, answer)
        self._work.set()

    def _keep_until_stopped(self) -> None:
        while True:
            self._work.wait()
            self._stopping.wait(_FLUSH_SECONDS)
            if self._stopping.is_set():
                return
            self._work.clear()
            with self._lock:
                batch = dict(self._waiting)
            try:
                rows = [self._row(key, *item) for key, item in batch.items()]
                with self._database.write() as connection:
                    recommendations.keep(connection, [row for row in rows if len(row["recommendations"]) <= _MAX_BYTES])
                    recommendations.prune(connection)
            except SQLAlchemyError as error:
                _log.warning("%d recommendations are not kept: %s", len(batch), type(error).__name__)
            except Exception:
                # Whatever it is, answers are computed as before, and the next batch has its chance.
                _log.exception("%d recommendations are not kept", len(batch))
            with self._lock:
                for key in batch:
                    del self._waiting[key]

    def _row(self, key: str, question: Question, answer: Answer) -> dict[str, Any]:
        return {
            "id": new_id(),
            "cache_key": key,
            "adapter_pk": question.adapter_pk,
            "prompt_hash": None if question.prompt is None else _hash(question.prompt.encode()),
            "recommendations": _encoded(answer),
            "similarity_threshold": question.wish.threshold,
            "limit_used": question.wish.limit,
            "weights_used": {space.value: weight for space, weight in question.wish.weights.items()},
            "created_at": answer.at,
            "expires_at": answer.at + self._lifetime,
        }


def _hash(content: bytes) -> str:
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _encoded(answer: Answer) -> bytes:
    content = {"items": answer.items, "searched": answer.searched, "analysis": answer.analysis}
    # The fastest level: a higher one saves a tenth and takes twice the time.
    return zlib.compress(msgspec.json.encode(content), 1)


def _decoded(kept: tuple[bytes, Any] | None, generation: str | None) -> Answer | None:
    """The answer that `_encoded` wrote; None where there is none, or what is there cannot be read."""
    if kept is None:
        return None
    try:
        content = msgspec.json.decode(zlib.decompress(kept[0]))
        return Answer(content["items"], content["searched"], 0.0, generation, content["analysis"], kept[1])
    except (zlib.error, msgspec.DecodeError, KeyError, TypeError):
        _log.warning("a kept recommendation cannot be read, and is computed anew")
        return None
