"""Computing what is due: adapters whose vector is absent, or was made from other facts, by another text or model.

The work list is an anti-join on watermarks, walked by number in chunks that are each committed: a killed run resumes
where it was, and a run without work reads the keys alone. A changed vector gets a new row number, so that everything
newer than an index is a range of numbers (`search`).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Select, and_, bindparam, delete, func, insert, or_, select, update

from warehouse import facets
from warehouse.engine import Database
from warehouse.ids import new_id
from warehouse.ingest.progress import Progress, Silence
from warehouse.ingest.report import StageReport
from warehouse.models import Adapter, Embedding, utc_now
from warehouse.settings import Settings
from warehouse.vectors import tuned
from warehouse.vectors.codec import encode_vectors
from warehouse.vectors.encoders import Encoder, ImageEncoder, model_version, shared_encoder
from warehouse.vectors.loading import Known, load_known, quality_score
from warehouse.vectors.spaces import SPACES, Space, SpaceName, space_of
from warehouse.vectors.stored import PARAMETERS, batched
from warehouse.vectors.texts import text_digest

CHUNK = 128
"""Adapters per commit: some two seconds of a CPU's work, lost at most when a run is killed, and a step of the bar."""


@dataclass(frozen=True, slots=True)
class _Due:
    """An adapter whose row must be written: what is embedded of it, and its digest."""

    known: Known
    text: str
    digest: str
    image: Path | None = None


def compute_embeddings(
    database: Database,
    settings: Settings,
    space: str,
    *,
    chunk: int = CHUNK,
    progress: Progress | None = None,
    should_stop: Callable[[], bool] | None = None,
    adapter_ids: Collection[str] | None = None,
    force: bool = False,
) -> StageReport:
    """Compute the vectors of a space that are due.

    Args:
        space: semantic, artistic or technical.
        chunk: adapters per commit.
        should_stop: asked after each chunk; what is committed stays.
        adapter_ids: public ids of the only adapters to look at; absent ones are ignored.
        force: compute also what is current.

    Returns:
        rows: adapters looked at; changed: vectors written; skipped: current ones; rejected: adapters for which the
        model gave no finite vector.

    Raises:
        EncoderError: the model of the space cannot be used. LookupError: there is no such space.
    """
    started = time.monotonic()
    declared = space_of(space)
    settings = tuned.in_use(database, settings)
    producer = producer_of(settings, declared)
    shown = progress or Silence()
    scope = _Scope(
        declared.name, producer, None if adapter_ids is None else _numbers(database, adapter_ids), force=force
    )
    with database.read() as connection:
        rows, due = scope.count(connection)
    shown.start(due, "adapters")
    writer = _Writer(database, settings, declared, producer, force=force)
    changed = rejected = 0
    for numbers in scope.chunks(database, chunk) if due else ():
        with database.read() as connection:
            known = load_known(connection, numbers)
        written, refused = writer.write(known)
        changed, rejected = changed + written, rejected + refused
        shown.advance(len(numbers))
        if should_stop is not None and should_stop():
            break
    seconds = time.monotonic() - started
    return StageReport(
        rows=rows, changed=changed, skipped=rows - changed - rejected, rejected=rejected, seconds=seconds
    )


def producer_of(settings: Settings, space: Space) -> str:
    """The watermark of a space's vectors: version of its text and of its model.

    Raises:
        EncoderError: the model of the space cannot be used.
    """
    return _producer(space, model_version(settings, space.model_name(settings)))


def _producer(space: Space, version: str) -> str:
    return f"text-{space.text_version}:{version}"


def producers_of(settings: Settings) -> dict[SpaceName, str]:
    """The producer of every space.

    Raises:
        EncoderError: the model of a space cannot be used.
    """
    # The spaces mostly share a model, and looking at its files is what takes long.
    versions = {model: model_version(settings, model) for model in {space.model_name(settings) for space in SPACES}}
    return {space.name: _producer(space, versions[space.model_name(settings)]) for space in SPACES}


def _numbers(database: Database, adapter_ids: Collection[str]) -> list[int]:
    numbers: list[int] = []
    with database.read() as connection:
        for ids in batched(adapter_ids, PARAMETERS):
            numbers += connection.execute(select(Adapter.pk).where(Adapter.id.in_(ids))).scalars()
    return sorted(numbers)


class _Scope:
    """The work list of a space: of the whole library, or of the adapters whose numbers are given."""

    def __init__(self, space: SpaceName, producer: str, only: list[int] | None, *, force: bool) -> None:
        self._only = only
        self._join = and_(Embedding.adapter_pk == Adapter.pk, Embedding.embedding_type == space.value)
        outdated = or_(
            Embedding.pk.is_(None),
            Embedding.content_digest != Adapter.content_digest,
            Embedding.producer != producer,
        )
        self._where = [] if force else [outdated]

    def count(self, connection: Connection) -> tuple[int, int]:
        """How many adapters there are to look at, and how many of them are due."""
        if self._only is not None:
            parts = batched(self._only, PARAMETERS)
            due = sum(
                connection.execute(self._due(func.count()).where(Adapter.pk.in_(part))).scalar_one() for part in parts
            )
            return len(self._only), due
        total = connection.execute(select(func.count()).select_from(Adapter)).scalar_one()
        return total, connection.execute(self._due(func.count())).scalar_one()

    def chunks(self, database: Database, size: int) -> Iterator[list[int]]:
        """The numbers that are due, ascending; each chunk is read when the one before is done."""
        if self._only is not None:
            for part in batched(self._only, size):
                with database.read() as connection:
                    found = connection.execute(self._due(Adapter.pk).where(Adapter.pk.in_(part)).order_by(Adapter.pk))
                    numbers = list(found.scalars())
                if numbers:
                    yield numbers
            return
        after = 0
        while True:
            with database.read() as connection:
                following = self._due(Adapter.pk).where(Adapter.pk > after).order_by(Adapter.pk).limit(size)
                numbers = list(connection.execute(following).scalars())
            if not numbers:
                return
            yield numbers
            after = numbers[-1]

    def _due(self, column: Any) -> Select[Any]:
        return select(column).select_from(Adapter).outerjoin(Embedding, self._join).where(*self._where)


class _Writer:
    """Turns adapters that are due into rows."""

    def __init__(self, database: Database, settings: Settings, space: Space, producer: str, *, force: bool) -> None:
        self._database, self._settings, self._space = database, settings, space
        self._producer, self._force = producer, force

    def write(self, known: Sequence[Known]) -> tuple[int, int]:
        """Compute and commit one chunk; returns how many vectors were written, and how many could not be made."""
        due = [self._prepare(item) for item in known]
        with self._database.read() as connection:
            same = set() if self._force else self._unchanged(connection, due)
            vectors = (
                {} if self._force else self._reusable(connection, [item for item in due if item.known.pk not in same])
            )
        fresh = {item.digest: item for item in due if item.known.pk not in same and item.digest not in vectors}
        vectors |= self._encode(list(fresh.values()))
        rows = [
            self._row(item, vectors[item.digest])
            for item in due
            if item.known.pk not in same and item.digest in vectors
        ]
        with self._database.write() as connection:
            # In one order, before anything is written: two that compute the same adapters wait for each other here, and
            # neither can hold what the other needs. Nor can an adapter be deleted until the commit.
            locked = select(Adapter.pk).where(Adapter.pk.in_([item.known.pk for item in due]))
            alive = set(connection.execute(locked.order_by(Adapter.pk).with_for_update()).scalars())
            self._touch(connection, [item for item in due if item.known.pk in same])
            written = self._replace(connection, rows, alive)
        return written, len(due) - len(same) - len(rows)

    def _encoder(self) -> Encoder:
        return shared_encoder(self._settings, self._space.model_name(self._settings))

    def _shows_images(self) -> bool:
        # Only looks of adapters are in their pictures, and only a model of both can compare them with words.
        if self._space.name is not SpaceName.ARTISTIC:
            return False
        encoder = self._encoder()
        return isinstance(encoder, ImageEncoder) and encoder.reads_images

    def _prepare(self, item: Known) -> _Due:
        """What is embedded of an adapter: its text, or its preview image as it lies there now."""
        text = self._space.text(item.facts)
        if item.preview_path is not None and self._shows_images():
            image = Path(item.preview_path)
            try:
                stat = image.stat()
            except OSError:
                return _Due(item, text, text_digest(text))
            return _Due(item, text, text_digest(f"{image}\n{stat.st_size}\n{stat.st_mtime_ns}"), image)
        return _Due(item, text, text_digest(text))

    def _unchanged(self, connection: Connection, due: Sequence[_Due]) -> set[int]:
        """Adapters whose facts changed, but not what is embedded of them."""
        digests = {item.known.pk: item.digest for item in due}
        rows = connection.execute(
            select(Embedding.adapter_pk, Embedding.text_digest).where(
                Embedding.adapter_pk.in_(list(digests)),
                Embedding.embedding_type == self._space.name.value,
                Embedding.producer == self._producer,
            )
        )
        return {row.adapter_pk for row in rows if digests[row.adapter_pk] == row.text_digest}

    def _reusable(self, connection: Connection, due: Sequence[_Due]) -> dict[str, bytes]:
        """Vectors of equal texts that the table has already."""
        rows = connection.execute(
            select(Embedding.text_digest, func.min(Embedding.pk).label("pk"))
            .where(
                Embedding.embedding_type == self._space.name.value,
                Embedding.producer == self._producer,
                Embedding.text_digest.in_({item.digest for item in due}),
            )
            .group_by(Embedding.text_digest)
        ).all()
        data = select(Embedding.text_digest, Embedding.embedding_data).where(Embedding.pk.in_([row.pk for row in rows]))
        return {row.text_digest: row.embedding_data for row in connection.execute(data)}

    def _encode(self, due: Sequence[_Due]) -> dict[str, bytes]:
        """Vectors by digest; without those that are not finite."""
        if not due:
            return {}
        import numpy as np

        encoder = self._encoder()
        vectors: dict[str, Any] = {}
        pictured = [(item, item.image) for item in due if item.image is not None]
        if pictured and isinstance(encoder, ImageEncoder):
            positions, rows = encoder.encode_images([path for _, path in pictured])
            vectors = {pictured[position][0].digest: row for position, row in zip(positions, rows, strict=True)}
        worded = [item for item in due if item.digest not in vectors]
        if worded:
            encoded = encoder.encode([item.text for item in worded])
            vectors |= {item.digest: row for item, row in zip(worded, encoded, strict=True)}
        finite = {digest: row for digest, row in vectors.items() if np.isfinite(row).all()}
        return dict(zip(finite, encode_vectors(np.array(list(finite.values()))), strict=True)) if finite else {}

    def _row(self, item: _Due, data: bytes) -> dict[str, Any]:
        now = utc_now()
        identity = self._encoder().identity
        return {
            "id": new_id(),
            "adapter_pk": item.known.pk,
            "embedding_type": self._space.name.value,
            "dimension": len(data) // 2,
            "embedding_data": data,
            "model_name": identity.model_name,
            "model_version": identity.version,
            "quality_score": quality_score(item.known.facts),
            "text_digest": item.digest,
            "content_digest": item.known.content_digest,
            "producer": self._producer,
            "details": {"backend": identity.backend, "precision": identity.precision, "device": identity.device},
            "created_at": now,
            "updated_at": now,
        }

    def _touch(self, connection: Connection, due: Sequence[_Due]) -> None:
        if due:
            table = Embedding.__table__
            connection.execute(
                update(Embedding)
                .where(table.c.adapter_pk == bindparam("number"), table.c.embedding_type == bindparam("space"))
                .values(content_digest=bindparam("content"), quality_score=bindparam("quality")),
                [
                    {
                        "number": item.known.pk,
                        "space": self._space.name.value,
                        "content": item.known.content_digest,
                        "quality": quality_score(item.known.facts),
                    }
                    for item in due
                ],
            )

    def _replace(self, connection: Connection, rows: list[dict[str, Any]], alive: set[int]) -> int:
        """Write rows under new numbers. Adapters deleted meanwhile are left out; returns how many were written."""
        if not rows:
            return 0
        numbers = [row["adapter_pk"] for row in rows]
        mine = and_(Embedding.adapter_pk.in_(numbers), Embedding.embedding_type == self._space.name.value)
        before = {
            row.adapter_pk: (row.id, row.created_at)
            for row in connection.execute(select(Embedding.adapter_pk, Embedding.id, Embedding.created_at).where(mine))
        }
        gone = connection.execute(delete(Embedding).where(mine)).rowcount
        kept = [row for row in rows if row["adapter_pk"] in alive]
        for row in kept:
            row["id"], row["created_at"] = before.get(row["adapter_pk"], (row["id"], row["created_at"]))
        if kept:
            connection.execute(insert(Embedding), kept)
        # What is deleted is counted by the delete itself: the rows may have gone with their adapters meanwhile.
        facets.apply(connection, Counter({(facets.EMBEDDED, self._space.name.value): len(kept) - gone}))
        return len(kept)
