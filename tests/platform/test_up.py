"""`lora-manager up` from nothing to answers, through death and restart, to a clean end."""

import json
import os
import signal
from collections.abc import Callable

import httpx
import psutil
import pytest

from tests.platform.conftest import Up

pytestmark = [pytest.mark.platform, pytest.mark.slow]
SERVICES = {"api", "code-server", "dagster-daemon", "dagster-webserver", "lane-server"}


def _pids(up: Up) -> dict[str, int]:
    """The process of each service that runs."""
    children = json.loads((up.data / "run" / "up.json").read_text())["children"]
    return {service: child[0] for service, child in children.items()}


def test_from_nothing_to_answers_through_death_to_a_clean_end(make_up: Callable[..., Up]) -> None:
    up = make_up()
    up.start()
    assert "sample library" in up.text()
    first = up.text()
    assert f"http://127.0.0.1:{up.port}/docs" in first
    assert "Similar to" in first
    assert "No answer" not in first

    with up.api as api:
        adapters = api.get("/api/v1/adapters", params={"limit": 500}).json()
        assert adapters["total"] >= 200
        asked = api.post("/api/v1/recommendations/prompt", json={"prompt": "an airship captain", "limit": 3}).json()
        assert len(asked["recommendations"]) == 3
        assert api.get("/health/ready").status_code == httpx.codes.OK
    assert httpx.get(f"http://127.0.0.1:{up.dagster_port}/server_info", trust_env=False).status_code == httpx.codes.OK
    assert {log.stem for log in (up.data / "logs").glob("*.log")} == SERVICES

    # A second one on the same folder is refused; the first does not notice.
    second = make_up()
    second.data, second.output = up.data, up.output.with_suffix(".second")
    with pytest.raises(AssertionError, match=f"already running .*{up.port}"):
        second.start()

    # Each service killed is started again, and answers.
    victims = _pids(up)
    assert victims.keys() == SERVICES
    for victim in victims.values():
        os.kill(victim, signal.SIGKILL)
    up.until(lambda: _pids(up).keys() == SERVICES and not set(_pids(up).items()) & set(victims.items()), within=120)
    assert up.text().count("was killed by signal 9") == len(SERVICES)
    up.until(lambda: _is_ready(up), within=90)

    left = up.processes()
    assert len(left) >= len(SERVICES)
    assert up.stop(signal.SIGINT) == 0
    assert up.text().endswith("Stopped.\n")
    assert up.processes() == []
    assert not any(_runs(process) for process in left)

    # Nothing changed: the pipeline is not run again, and everything is there at once.
    up.start()
    assert "Library unchanged" in up.text()
    with up.api as api:
        again = api.get("/api/v1/adapters", params={"limit": 500}).json()
    assert [item["id"] for item in again["items"]] == [item["id"] for item in adapters["items"]]

    # Killed, it leaves its services behind; the next one ends them, and then stops for a closed terminal.
    orphans = up.processes()
    up.stop(signal.SIGKILL)
    assert any(_runs(process) for process in orphans)
    up.start()
    assert not any(_runs(process) for process in orphans)
    assert up.stop(signal.SIGHUP) == 0
    assert up.processes() == []


def _runs(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def _is_ready(up: Up) -> bool:
    try:
        with up.api as api:
            return api.get("/health/ready").status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
