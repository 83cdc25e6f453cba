"""Generations through their lane: what is in the tables when they ended."""

from typing import Any

import pytest
from sqlalchemy import select

from pipelines.backends.webui import backend as module
from pipelines.backends.webui.backend import SDNEXT
from serving.results import Results
from serving.signing import Signer
from tests.fakes.sdnext import FakeLora, FakeSDNext
from tests.fakes.server import served
from tests.pipelines.jobs.working import finished, put, show, until, working
from tests.warehouse.queries.library import adapter_values, insert_adapters
from warehouse import jobs
from warehouse.engine import Database
from warehouse.models import AdapterUse, GeneratedImage
from warehouse.pictures import PictureStore
from warehouse.queries.jobs import events_of
from warehouse.settings import Settings

SMALL: dict[str, Any] = {"steps": 12, "width": 64, "height": 64, "seed": 5}


def test_a_generation_is_a_result_pictures_and_uses(
    database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.05)
    rows = [adapter_values(1, name="Ink", file_path="/library/ink.safetensors")]
    insert_adapters(database, rows)
    fake = FakeSDNext(loras=[FakeLora("style/ink")], step_seconds=0.05)
    with served(fake.app) as url:
        url_of_tables = database.engine.url.render_as_string(hide_password=False)
        given = settings.model_copy(update={"sdnext_url": url, "database_url": url_of_tables})
        with working(database, given, SDNEXT):
            done = put(database, {**SMALL, "n_iter": 2}, SDNEXT, prompt="a dragon <lora:Ink:0.5>")
            late = put(database, {**SMALL, "steps": 150}, SDNEXT, prompt="never")
            until(lambda: show(database, done).status != "pending" and show(database, late).progress > 0)
            with database.write() as connection:
                jobs.cancel(connection, late)
            first, second = finished(database, done, late)
    assert (first.status, first.error, first.progress) == ("succeeded", None, 100)
    assert (second.status, second.result) == ("cancelled", None)
    assert fake.most_in_flight == 1
    with database.read() as connection:
        images = connection.execute(select(GeneratedImage.sha256, GeneratedImage.seed, GeneratedImage.job_id)).all()
        uses = connection.execute(select(AdapterUse.adapter_id, AdapterUse.name, AdapterUse.status)).all()
        ticks = [event.payload for event in events_of(connection, done, limit=100) if event.type == "progress"]
    assert first.result is not None
    assert [tuple(image) for image in images] == [
        (picture["sha256"], picture["seed"], done) for picture in first.result["pictures"]
    ]
    assert [tuple(use) for use in uses] == [(rows[0]["id"], "Ink", "applied")]
    assert [tick["progress"] for tick in ticks] == sorted(tick["progress"] for tick in ticks)
    assert sum("preview" in tick for tick in ticks) == 1
    shown = Results(database, PictureStore(settings.pictures_dir), Signer(b"k" * 32)).shown(first)
    assert shown is not None
    assert len(shown["images"]) == 2
    assert "pictures" not in shown
