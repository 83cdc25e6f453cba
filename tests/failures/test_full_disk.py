"""The whole system on a disk that runs full: what is there is answered, nothing is lost, with room it all goes on."""

import signal
import time
from collections.abc import Callable
from pathlib import Path

import httpx

from tests.failures.disk import small_disk
from tests.failures.service import eventually
from tests.pipelines.receiver import receiving
from tests.platform.conftest import Up

PATH = "/api/v1/deliveries"
FULL_FOR_SECONDS = 15.0
"""Longer than a heartbeat of the daemon, a look at the queue, and a look at the logs; nothing is asserted of it."""


def _post(api: httpx.Client, url: str) -> httpx.Response:
    return api.post(PATH, json={"prompt": "a knight", "mode": "http", "params": {"url": url}})


def _succeeded(api: httpx.Client, delivery_id: str) -> bool:
    return bool(api.get(f"{PATH}/{delivery_id}").json().get("status") == "succeeded")


def test_a_running_system_gets_over_a_full_disk(make_up: Callable[..., Up], tmp_path: Path, shared_data: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    with small_disk(tmp_path / "data") as disk, receiving() as receiver:
        (disk.folder / "models").symlink_to(shared_data / "models")
        up = make_up("--library", str(library))
        up.start()
        with up.api as api:
            accepted = [_post(api, receiver.url).json()["delivery_id"]]
            up.until(lambda: _succeeded(api, accepted[0]), within=120)
            disk.fill()

            # Some pages of the database have room left; then there is none.
            def refused() -> bool:
                answer = _post(api, receiver.url)
                if answer.status_code == httpx.codes.CREATED:
                    accepted.append(answer.json()["delivery_id"])
                    return False
                assert answer.status_code == httpx.codes.SERVICE_UNAVAILABLE, answer.text
                assert answer.json()["type"] == "urn:lora-manager:problem:database-unavailable"
                return True

            eventually(refused, "a write is refused")
            until = time.monotonic() + FULL_FOR_SECONDS
            while time.monotonic() < until:
                assert up.process is not None
                assert up.process.poll() is None, up.text()
                assert api.get("/health").status_code == httpx.codes.OK
                assert api.get("/api/v1/adapters").status_code == httpx.codes.OK
                time.sleep(0.5)
            disk.grow()
            up.until(lambda: api.get("/health/ready").status_code == httpx.codes.OK, within=120)
            answer = _post(api, receiver.url)
            assert answer.status_code == httpx.codes.CREATED
            accepted.append(answer.json()["delivery_id"])
            up.until(lambda: all(_succeeded(api, each) for each in accepted), within=120)
        assert set(accepted) <= set(receiver.times())
        assert up.stop(signal.SIGINT) == 0
        assert up.processes() == []
