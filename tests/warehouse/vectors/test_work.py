"""Vectors are computed when they are due, once, and never lost: on both dialects, with the real model."""

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import delete, select, update

from tests.warehouse.vectors import library
from warehouse import facets
from warehouse.engine import Database
from warehouse.ingest.tombstones import bury
from warehouse.models import Adapter, AdapterDetail, Embedding
from warehouse.queries import embeddings
from warehouse.settings import Settings
from warehouse.vectors import SPACES, EncoderError, compute_embeddings, decode_vector
from warehouse.vectors.codec import decode_vectors, encode_vectors


class _Bar:
    def __init__(self) -> None:
        self.totals: list[int | None] = []
        self.done = 0

    def start(self, total: int | None, unit: str) -> None:
        self.totals.append(total)

    def advance(self, amount: int = 1) -> None:
        self.done += amount


def _rows(database: Database, space: str = "semantic") -> dict[int, Any]:
    with database.read() as connection:
        rows = connection.execute(select(*Embedding.__table__.c).where(Embedding.embedding_type == space)).mappings()
        return {row["adapter_pk"]: dict(row) for row in rows}


def _change(database: Database, pk: int, **values: Any) -> None:
    with database.write() as connection:
        connection.execute(update(Adapter).where(Adapter.pk == pk).values(content_digest=f"{pk:031x}f", **values))


def test_stored_vectors_are_half_precision_and_unit_length() -> None:
    vectors = np.random.default_rng(0).normal(size=(5, 384)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    stored = encode_vectors(vectors)
    assert {len(data) for data in stored} == {768}
    assert decode_vector(stored[2]) @ vectors[2] == pytest.approx(1, abs=1e-5)
    assert np.linalg.norm(decode_vectors(stored), axis=1) == pytest.approx(1, abs=1e-6)
    assert decode_vectors([]).shape == (0, 0)
    with pytest.raises(ValueError, match="dimensions"):
        decode_vectors([b"\0\0", b"\0\0\0\0"])


def test_every_adapter_gets_a_vector_in_every_space_once(database: Database, settings: Settings) -> None:
    library.fill(database, *(library.adapter(pk) for pk in range(1, 41)))
    for space in SPACES:
        bar = _Bar()
        report = compute_embeddings(database, settings, space.name, chunk=16, progress=bar)
        assert (report.rows, report.changed, report.skipped, report.rejected) == (40, 40, 0, 0)
        assert (bar.totals, bar.done) == ([40], 40)
    before = _rows(database)
    report = compute_embeddings(database, settings, "semantic")
    assert (report.changed, report.skipped) == (0, 40)
    assert _rows(database) == before
    assert before[7]["dimension"] == 384
    assert 0 < before[7]["quality_score"] <= 1


def test_a_changed_adapter_gets_a_new_vector_under_a_new_number(database: Database, settings: Settings) -> None:
    library.fill(database, *(library.adapter(pk) for pk in range(1, 6)))
    compute_embeddings(database, settings, "semantic")
    before = _rows(database)
    _change(database, 3, name="Sunken Cathedral")
    assert compute_embeddings(database, settings, "semantic").changed == 1
    after = _rows(database)
    assert after[3]["pk"] > max(row["pk"] for row in before.values())
    assert (after[3]["id"], after[3]["created_at"]) == (before[3]["id"], before[3]["created_at"])
    assert after[3]["embedding_data"] != before[3]["embedding_data"]
    assert {pk: row for pk, row in after.items() if pk != 3} == {pk: row for pk, row in before.items() if pk != 3}


def test_facts_that_do_not_change_the_text_only_move_the_watermark(database: Database, settings: Settings) -> None:
    library.fill(database, library.adapter(1))
    compute_embeddings(database, settings, "technical")
    before = _rows(database, "technical")[1]
    _change(database, 1, name="Another name, which is not technical")
    assert compute_embeddings(database, settings, "technical").changed == 0
    after = _rows(database, "technical")[1]
    assert after["content_digest"] != before["content_digest"]
    assert (after["pk"], after["embedding_data"]) == (before["pk"], before["embedding_data"])
    assert compute_embeddings(database, settings, "technical").skipped == 1


def test_equal_texts_have_equal_vectors(sqlite_database: Database, settings: Settings) -> None:
    same = {"name": "Same", "trained_words": [], "triggers": [], "tags": [], "description_text": "same"}
    library.fill(sqlite_database, *(library.adapter(pk, **same, version=f"v{pk}", archetype=None) for pk in (1, 2)))
    compute_embeddings(sqlite_database, settings, "semantic")
    library.fill(sqlite_database, library.adapter(3, **same, version="v3", archetype=None))
    compute_embeddings(sqlite_database, settings, "semantic")
    assert len({row["embedding_data"] for row in _rows(sqlite_database).values()}) == 1


def test_only_the_adapters_that_are_named_and_force(sqlite_database: Database, settings: Settings) -> None:
    library.fill(sqlite_database, *(library.adapter(pk) for pk in range(1, 4)))
    wanted = [library.adapter(2)["id"], "no such adapter"]
    report = compute_embeddings(sqlite_database, settings, "semantic", adapter_ids=wanted)
    assert (report.rows, report.changed) == (1, 1)
    assert set(_rows(sqlite_database)) == {2}
    report = compute_embeddings(sqlite_database, settings, "semantic", adapter_ids=wanted)
    assert (report.changed, report.skipped) == (0, 1)
    report = compute_embeddings(sqlite_database, settings, "semantic", adapter_ids=wanted, force=True)
    assert report.changed == 1


def test_stopping_keeps_what_is_done(sqlite_database: Database, settings: Settings) -> None:
    library.fill(sqlite_database, *(library.adapter(pk) for pk in range(1, 11)))
    report = compute_embeddings(sqlite_database, settings, "semantic", chunk=4, should_stop=lambda: True)
    assert report.changed == 4
    assert compute_embeddings(sqlite_database, settings, "semantic").changed == 6


def test_an_adapter_deleted_while_it_is_computed_is_left_out(database: Database, settings: Settings) -> None:
    from warehouse.vectors.loading import load_known
    from warehouse.vectors.spaces import space_of
    from warehouse.vectors.work import _Writer, producer_of

    library.fill(database, library.adapter(1), library.adapter(2))
    space = space_of("semantic")
    writer = _Writer(database, settings, space, producer_of(settings, space), force=False)
    with database.read() as connection:
        known = load_known(connection, [1, 2])
    with database.write() as connection:
        connection.execute(delete(AdapterDetail).where(AdapterDetail.adapter_pk == 1))
        connection.execute(delete(Adapter).where(Adapter.pk == 1))
    assert writer.write(known) == (1, 0)
    assert set(_rows(database)) == {2}


def test_vectors_are_counted_as_they_come_and_go(database: Database, settings: Settings) -> None:
    library.fill(database, *(library.adapter(pk) for pk in range(1, 6)))

    def counted() -> dict[str, int]:
        with database.read() as connection:
            truth = facets.recount(connection)
            kept = embeddings.coverage(connection)
        assert kept == {space: count for (facet, space), count in truth.items() if facet == facets.EMBEDDED}
        return kept

    assert counted() == {}
    compute_embeddings(database, settings, "semantic")
    compute_embeddings(database, settings, "technical", adapter_ids=[library.adapter(2)["id"]])
    assert counted() == {"semantic": 5, "technical": 1}
    compute_embeddings(database, settings, "semantic", force=True)
    assert counted() == {"semantic": 5, "technical": 1}
    with database.write() as connection:
        assert bury(connection, [2, 3]) == 2
    assert counted() == {"semantic": 3}


def test_nothing_to_do_and_bad_names(sqlite_database: Database, settings: Settings) -> None:
    report = compute_embeddings(sqlite_database, settings, "semantic")
    assert (report.rows, report.changed) == (0, 0)
    with pytest.raises(LookupError, match="semantic, artistic, technical"):
        compute_embeddings(sqlite_database, settings, "semantics")
    absent = settings.model_copy(update={"embedding_model_semantic": "/no/such/model"})
    with pytest.raises(EncoderError, match="/no/such/model"):
        compute_embeddings(sqlite_database, absent, "semantic")


_KILLED = """
import sys
from pathlib import Path
from warehouse.engine import connect
from warehouse.settings import Settings
from warehouse.vectors import compute_embeddings

class Bar:
    def start(self, total, unit): pass
    def advance(self, amount=1): print("chunk", flush=True)

settings = Settings(_env_file=None, data_dir=Path(sys.argv[2]))
compute_embeddings(connect(sys.argv[1]), settings, "semantic", chunk=8, progress=Bar())
"""


def test_a_killed_run_resumes_to_the_same_state(sqlite_database: Database, settings: Settings, tmp_path: Path) -> None:
    library.fill(sqlite_database, *(library.adapter(pk) for pk in range(1, 201)))
    url = sqlite_database.engine.url.render_as_string(hide_password=False)
    command: Sequence[str] = [sys.executable, "-c", _KILLED, url, str(settings.data_dir)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "chunk\n"
    process.kill()
    process.wait()
    process.stdout.close()
    done = len(_rows(sqlite_database))
    assert 8 <= done < 200
    assert compute_embeddings(sqlite_database, settings, "semantic", chunk=8).changed == 200 - done
    resumed = {pk: row["embedding_data"] for pk, row in _rows(sqlite_database).items()}
    with sqlite_database.write() as connection:
        connection.execute(delete(Embedding))
    compute_embeddings(sqlite_database, settings, "semantic", chunk=8)
    assert {pk: row["embedding_data"] for pk, row in _rows(sqlite_database).items()} == resumed
    assert len(resumed) == 200
