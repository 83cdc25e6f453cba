"""The processes of the running system, declared: how each is started and how it shows that it is ready.

One code server holds the definitions for the webserver and the daemon, so that they are imported once; it listens on a
socket file that only this user can open, because whoever reaches it can run code.
"""

import json
import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from warehouse.contracts import CODE_LOCATION

_TIMEOUT = httpx.Timeout(2.0)
"""Seconds; what is starting may accept and not answer, and Ctrl-C waits for the question to end."""
_STATE = """{
  instance { daemonHealth { allDaemonStatuses { required healthy lastHeartbeatTime } } }
  workspaceOrError { ... on Workspace { locationEntries { loadStatus locationOrLoadError { __typename } } } }
}"""


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Where the system listens."""

    host: str
    port: int
    dagster_port: int
    private: Path
    """A folder that only this user can open, with a short name: a socket's path is limited to 108 characters."""

    @property
    def code_socket(self) -> Path:
        """Where the code server listens."""
        return self.private / "code.sock"

    @property
    def workspace(self) -> Path:
        """The file that leads the webserver and the daemon there."""
        return self.private / "workspace.yaml"

    @property
    def api_url(self) -> str:
        """The API as this machine reaches it."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "::1": "[::1]"}.get(self.host, self.host)  # noqa: S104
        return f"http://{host}:{self.port}"

    @property
    def dagster_url(self) -> str:
        """The Dagster UI, always on loopback: it has no keys."""
        return f"http://127.0.0.1:{self.dagster_port}"


@dataclass(frozen=True, slots=True)
class Service:
    """A process to keep alive.

    Attributes:
        name: of its log file.
        title: for people.
        command: the program and its arguments.
        is_ready: whether the process that was started at the given time (seconds of the epoch) does its work.
        after: the service that must be ready before this one starts.
    """

    name: str
    title: str
    command: tuple[str, ...]
    is_ready: Callable[[float], bool]
    after: str | None = None


def _get(url: str) -> httpx.Response | None:
    try:
        return httpx.get(url, timeout=_TIMEOUT, trust_env=False)
    except httpx.HTTPError:
        return None


def _listens(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(os.fspath(path))
        except OSError:
            return False
    return True


def _dagster_state(url: str) -> dict[str, Any]:
    try:
        answer = httpx.post(f"{url}/graphql", json={"query": _STATE}, timeout=_TIMEOUT, trust_env=False)
        data = answer.json().get("data")
    except (httpx.HTTPError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def _location_loaded(url: str) -> bool:
    entries = (_dagster_state(url).get("workspaceOrError") or {}).get("locationEntries") or []
    return bool(entries) and all(
        entry["loadStatus"] == "LOADED"
        and (entry["locationOrLoadError"] or {}).get("__typename") == "RepositoryLocation"
        for entry in entries
    )


def _daemon_beats(url: str, since: float) -> bool:
    """Whether every daemon has given a sign of life since it was started; one of an earlier process says nothing."""
    health = (_dagster_state(url).get("instance") or {}).get("daemonHealth") or {}
    required = [status for status in health.get("allDaemonStatuses") or [] if status["required"]]
    return bool(required) and all(
        status["healthy"] and (status["lastHeartbeatTime"] or 0) >= since for status in required
    )


def _api_answers(url: str) -> bool:
    answer = _get(f"{url}/health/ready")
    return answer is not None and answer.status_code == httpx.codes.OK


def services(endpoints: Endpoints) -> tuple[Service, ...]:
    """Everything that runs, in the order in which it is started; stopped in the reverse."""
    python, socket_path = sys.executable, os.fspath(endpoints.code_socket)
    dagster_url = endpoints.dagster_url
    location = {"grpc_server": {"socket": socket_path, "location_name": CODE_LOCATION}}
    # JSON is YAML.
    endpoints.workspace.write_text(json.dumps({"load_from": [location]}), encoding="utf-8")
    workspace = ("--workspace", os.fspath(endpoints.workspace))
    return (
        Service(
            name="code-server",
            title="Dagster code server",
            command=(
                *(python, "-m", "dagster", "api", "grpc", "--socket", socket_path),
                *("--module-name", "pipelines.definitions", "--location-name", CODE_LOCATION),
                "--use-python-environment-entry-point",
            ),
            is_ready=lambda _: _listens(endpoints.code_socket),
        ),
        Service(
            name="api",
            title="API",
            command=(python, "-m", "serving.server", "--host", endpoints.host, "--port", str(endpoints.port)),
            is_ready=lambda _: _api_answers(endpoints.api_url),
        ),
        Service(
            name="dagster-webserver",
            title="Dagster UI",
            command=(
                *(python, "-m", "dagster_webserver", "--host", "127.0.0.1"),
                *("--port", str(endpoints.dagster_port), *workspace),
            ),
            is_ready=lambda _: _location_loaded(dagster_url),
            after="code-server",
        ),
        Service(
            name="dagster-daemon",
            title="Dagster daemon",
            command=(python, "-m", "dagster._daemon", "run", *workspace),
            is_ready=lambda since: _daemon_beats(dagster_url, since),
            after="code-server",
        ),
    )
