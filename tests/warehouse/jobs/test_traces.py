"""What jobs leave behind: pictures, uses of adapters, and one preview at most while they run."""

from typing import Any

from sqlalchemy import select

from tests.warehouse.jobs.work import put, take
from tests.warehouse.queries.library import adapter_values, insert_adapters
from warehouse.engine import Database
from warehouse.jobs import ClaimedJob, Ended, JobKind, JobStatus, NewJob, Tick, claim, enqueue, update_jobs
from warehouse.models import AdapterUse, GeneratedImage
from warehouse.queries import jobs

PICTURE = {"sha256": "ab" * 32, "format": "png", "width": 64, "height": 64, "size": 9, "seed": 2**32 - 1}


def _generation(database: Database, prompt: str = "a knight") -> ClaimedJob:
    with database.write() as connection:
        enqueue(connection, NewJob(JobKind.GENERATION, "sdnext", "sdnext", prompt, {"steps": 2}, max_attempts=2))
    with database.write() as connection:
        (job,) = claim(connection, "sdnext", "me", "run", limit=1)
    return job


def _end(database: Database, job: ClaimedJob, status: JobStatus, result: Any, holder: str = "me") -> None:
    with database.write() as connection:
        update_jobs(connection, holder, [Ended(job, status, result)])


def _uses(database: Database) -> list[tuple[Any, ...]]:
    columns = (AdapterUse.name, AdapterUse.adapter_id, AdapterUse.weight, AdapterUse.status, AdapterUse.others)
    with database.read() as connection:
        return [tuple(row) for row in connection.execute(select(*columns).order_by(AdapterUse.pk))]


def test_pictures_are_rows_with_the_end_of_their_job(database: Database) -> None:
    job = _generation(database)
    result = {"pictures": [{**PICTURE, "infotext": "a knight"}, PICTURE, {"sha256": None}, "nonsense"]}
    _end(database, job, JobStatus.SUCCEEDED, result, holder="somebody else")
    with database.read() as connection:
        assert connection.execute(select(GeneratedImage.pk)).all() == []
    _end(database, job, JobStatus.SUCCEEDED, result)
    with database.read() as connection:
        rows = connection.execute(select(GeneratedImage).order_by(GeneratedImage.pk)).mappings().all()
        images = [dict(row) for row in rows]
    columns = ("job_id", "position", "mode", "seed", "prompt", "params", "infotext", "is_favorite", "deleted_at")
    assert [tuple(image[name] for name in columns) for image in images] == [
        (job.id, 0, "sdnext", 2**32 - 1, "a knight", {"steps": 2}, "a knight", False, None),
        (job.id, 1, "sdnext", 2**32 - 1, "a knight", {"steps": 2}, None, False, None),
    ]


def test_what_did_not_succeed_leaves_nothing(database: Database) -> None:
    for status in (JobStatus.FAILED, JobStatus.CANCELLED):
        _end(database, _generation(database, "<lora:Ink:1>"), status, {"pictures": [PICTURE]})
    with database.read() as connection:
        assert connection.execute(select(GeneratedImage.pk)).all() == []
    assert _uses(database) == []


def test_a_delivery_uses_the_adapters_of_its_tokens(database: Database) -> None:
    rows = [adapter_values(1, name="Ink", version="1", active=True), adapter_values(2, name="Ink", version="2")]
    insert_adapters(database, rows)
    put(database, prompt="<lora:Ink:0.5> a <lora:gone:1:te=0> <lora:Ink:0.75>", params={"pictures": []})
    (job,) = take(database)
    _end(database, job, JobStatus.SUCCEEDED, {"status": 200, "pictures": [PICTURE]})
    assert _uses(database) == [
        ("Ink", rows[0]["id"], 0.75, "sent", ["gone"]),
        ("gone", None, 1.0, "sent", ["Ink"]),
    ]
    with database.read() as connection:
        assert connection.execute(select(GeneratedImage.pk)).all() == []


def test_a_generation_uses_what_was_applied(database: Database) -> None:
    job = _generation(database, "<lora:a:1> <lora:b:1> <lora:c:1>")
    report = {
        "applied": [{"name": "a", "weight": 1.0, "lora_id": "00000000-0000-7000-8000-000000000001"}, {"no": "name"}],
        "unverified": [{"name": "b", "weight": 0.5, "lora_id": None}],
        "unknown": [{"name": "c", "weight": 1.0, "lora_id": None}],
    }
    _end(database, job, JobStatus.SUCCEEDED, {"pictures": [], "lora_report": report})
    assert _uses(database) == [
        ("a", "00000000-0000-7000-8000-000000000001", 1.0, "applied", ["b"]),
        ("b", None, 0.5, "unverified", ["a"]),
    ]


def test_one_preview_of_a_job_is_kept(database: Database) -> None:
    job = _generation(database)

    def tick(*ticks: Tick) -> list[tuple[float, str | None]]:
        with database.write() as connection:
            assert len(update_jobs(connection, "me", ticks)) == len(ticks)
        with database.read() as connection:
            found = jobs.events_of(connection, job.id, limit=100)
        return [
            (event.payload["progress"], event.payload.get("preview")) for event in found if event.type == "progress"
        ]

    assert tick(Tick(job, 1.0, {}), Tick(job, 2.0, {"preview": "a"})) == [(2.0, "a")]
    assert tick(Tick(job, 3.0, {})) == [(2.0, "a"), (3.0, None)]
    ticks = [Tick(job, 4.0, {"preview": "b"}), Tick(job, 5.0, {"preview": "c"}), Tick(job, 6.0, {})]
    assert tick(*ticks) == [(5.0, "c"), (6.0, None)]
