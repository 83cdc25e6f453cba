"""Large messages to many listeners: made once, and no more of them on their way than there is room for."""

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving.live import Room, Texts
from serving.live.messages import Message
from serving.results import Results
from serving.signing import Signer
from tests.serving.test_live import hear, listening
from warehouse.engine import Database
from warehouse.generating import PICTURES
from warehouse.jobs import Ended, JobKind, JobStatus, NewJob, claim, enqueue, take_lane, update_jobs
from warehouse.models import utc_now
from warehouse.pictures import PictureStore
from warehouse.queries.jobs import JobRow


class Counting(Results):
    """Results that know how often they were read."""

    reads = 0

    def shown(self, row: JobRow) -> dict[str, Any] | None:
        self.reads += 1
        return super().shown(row)


def _ended(database: Database, store: PictureStore, size: int) -> str:
    """A generation that made a picture of some bytes."""
    kept = store.put(b"\x89PNG\r\n\x1a\n" + bytes(16 + size))
    with database.write() as connection:
        take_lane(connection, "sdnext", "generation", "test", None)
        job_id = enqueue(connection, NewJob(JobKind.GENERATION, "sdnext", "sdnext", "a", {})).id
        (job,) = claim(connection, "sdnext", "test", None, limit=1)
        picture = {"sha256": kept.sha256, "format": "png", "width": 0, "height": 0, "size": kept.size}
        update_jobs(connection, "test", [Ended(job, JobStatus.SUCCEEDED, {PICTURES: [picture]})])
    return job_id


def test_an_end_is_made_once_for_all_who_are_sent_it_and_kept_no_longer(
    sqlite_database: Database, tmp_path: Path
) -> None:
    store = PictureStore(tmp_path)
    results = Counting(sqlite_database, store, Signer(b"k" * 32))
    job_id = _ended(sqlite_database, store, 1000)
    end = Message("generation_complete", 3, utc_now(), {"job_id": job_id}, job_id, needs_result=True)

    async def run() -> tuple[list[bytes], bytes]:
        texts = Texts(sqlite_database, results)
        first = asyncio.create_task(texts.of(end))
        others = [asyncio.create_task(texts.of(end)) for _ in range(50)]
        await asyncio.sleep(0)
        first.cancel()  # who asked first goes away
        together = await asyncio.gather(*others)
        del others, first
        return together, await texts.of(end)

    together, later = asyncio.run(run())
    assert {id(text) for text in together} == {id(together[0])}
    assert json.loads(later) == json.loads(together[0])
    assert len(json.loads(later)["result"]["images"]) == 1
    assert results.reads == 2


def test_what_is_on_its_way_is_bounded() -> None:
    async def run() -> int:
        room, most = Room(100), 0

        async def send(number: int) -> None:
            nonlocal most
            async with room.taken(number):
                most = max(most, 100 - room.free)
                await asyncio.sleep(0)

        stuck = asyncio.create_task(_forever(room, 30))
        await asyncio.sleep(0)
        sending = [asyncio.create_task(send(40)) for _ in range(20)]
        await asyncio.gather(*sending)
        stuck.cancel()
        await asyncio.gather(stuck, return_exceptions=True)
        await send(1000)  # larger than all the room
        assert room.free == 100
        return most

    assert asyncio.run(asyncio.wait_for(run(), 20)) == 100


async def _forever(room: Room, number: int) -> None:
    async with room.taken(number):
        await asyncio.Event().wait()


@pytest.mark.parametrize("size", [10, 300_000])
def test_the_end_of_a_generation_brings_its_pictures(
    sqlite_client: httpx.Client, sqlite_database: Database, tmp_path: Path, size: int
) -> None:
    with listening(sqlite_client, max_size=None) as socket:
        hear(socket, "hello")
        _ended(sqlite_database, PictureStore(tmp_path / "data" / "pictures"), size)
        assert len(hear(socket, "generation_complete")["result"]["image_urls"]) == 1
        # What follows a large message follows it too.
        assert hear(socket, "delivery_update")["status"] == "succeeded"
