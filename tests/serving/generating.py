"""An API and the run of a lane on one database, with a fake SD.Next behind them."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

from pipelines.backends.webui import backend as webui
from pipelines.backends.webui.backend import SDNEXT
from tests.fakes.sdnext import FakeSDNext
from tests.fakes.server import served
from tests.pipelines.jobs.working import show, until, working
from tests.serving.conftest import Server
from warehouse.engine import Database
from warehouse.queries.jobs import JobRow
from warehouse.settings import Settings

API = "/api/v1/generation"
SMALL: dict[str, Any] = {"steps": 3, "width": 64, "height": 64, "seed": 7}
ASKED: dict[str, Any] = {"prompt": "a knight", **SMALL}


@dataclass
class Studio:
    """What a test of generations needs."""

    database: Database
    settings: Settings
    client: httpx.Client
    fake: FakeSDNext = field(default_factory=FakeSDNext)

    @contextmanager
    def working(self) -> Iterator[None]:
        """The lane of SD.Next is worked on for the block."""
        with working(self.database, self.settings, SDNEXT):
            yield

    def queue(self, **question: Any) -> str:
        """Queue a generation; its id."""
        answer = self.client.post(f"{API}/queue-generation", json={**ASKED, **question})
        assert answer.status_code == httpx.codes.ACCEPTED, answer.text
        job_id: str = answer.json()["job_id"]
        return job_id

    def job(self, job_id: str) -> dict[str, Any]:
        """A job as it is shown."""
        answer = self.client.get(f"{API}/jobs/{job_id}")
        assert answer.status_code == httpx.codes.OK, answer.text
        shown: dict[str, Any] = answer.json()
        return shown

    def finished(self, job_id: str) -> JobRow:
        """Wait for the end of a job."""
        until(lambda: show(self.database, job_id).finished_at is not None)
        return show(self.database, job_id)

    def sent(self) -> list[dict[str, Any]]:
        """The generations that the server was asked for."""
        return [body for _, path, body in self.fake.requests if path.endswith("txt2img")]

    def made(self, url: str, body: dict[str, Any]) -> list[str]:
        """What the server makes of a request: with a seed it makes the same each time."""
        answer = httpx.post(f"{url}/sdapi/v1/txt2img", json=body, trust_env=False, timeout=30)
        images: list[str] = answer.json()["images"]
        return images


@contextmanager
def studio(
    database: Database, settings_for: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch, **fields: Any
) -> Iterator[tuple[Studio, str]]:
    """A studio and the address of its SD.Next; the backend looks at its server more often than it would."""
    for name, seconds in {"POLL_SECONDS": 0.05, "UNREACHABLE_PAUSE": 0.05, "INTERRUPT_SECONDS": 0.05}.items():
        monkeypatch.setattr(webui, name, seconds)
    fake = FakeSDNext()
    with served(fake.app) as url:
        settings = settings_for(database, **{"sdnext_url": url, **fields})
        server = Server(settings)
        server.start()
        try:
            yield Studio(database, settings, server.client, fake), url
        finally:
            server.stop()
