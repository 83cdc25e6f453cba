"""The processes of the running system, declared: how each is started and how it shows that it is ready.

A code server for each code location holds the definitions for the webserver and the daemon, so that they are imported
once; it listens on a socket file that only this user can open, because whoever reaches it can run code.
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

from warehouse.contracts import CODE_LOCATION, DELIVERY_LOCATION

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

    def code_socket(self, service: str) -> Path:
        """Where a code server listens."""
        return self.private / f"{service}.sock"

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
        after: the services that must be ready before this one starts.
    """

    name: str
    title: str
    command: tuple[str, ...]
    is_ready: Callable[[float], bool]
    after: tuple[str, ...] = ()


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


_CODE_SERVERS = {
    "code-server": ("Dagster code server", CODE_LOCATION),
    "lane-server": ("Dagster code server of the lanes", DELIVERY_LOCATION),
}
"""By name: the title and the code location, which is named like its module. Runs are children of their server."""


def _code_server(endpoints: Endpoints, name: str) -> Service:
    title, location = _CODE_SERVERS[name]
    path = endpoints.code_socket(name)
    return Service(
        name=name,
        title=title,
        command=(
            *(sys.executable, "-m", "dagster", "api", "grpc", "--socket", os.fspath(path)),
            *("--module-name", location, "--location-name", location),
            "--use-python-environment-entry-point",
        ),
        is_ready=lambda _: _listens(path),
    )


def _write_workspace(endpoints: Endpoints) -> None:
    servers = [
        {"grpc_server": {"socket": os.fspath(endpoints.code_socket(name)), "location_name": location}}
        for name, (_, location) in _CODE_SERVERS.items()
    ]
    # JSON is YAML.
    endpoints.workspace.write_text(json.dumps({"load_from": servers}), encoding="utf-8")


def services(endpoints: Endpoints) -> tuple[Service, ...]:
    """Everything that runs, in the order in which it is started; stopped in the reverse."""
    python, dagster_url = sys.executable, endpoints.dagster_url
    _write_workspace(endpoints)
    workspace = ("--workspace", os.fspath(endpoints.workspace))
    code_servers = tuple(_CODE_SERVERS)
    return (
        *(_code_server(endpoints, name) for name in code_servers),
        Service(
            name="api",
            title="API",
            command=(
                *(python, "-m", "uvicorn", "serving.app:app", "--host", endpoints.host),
                *("--port", str(endpoints.port), "--no-access-log", "--timeout-graceful-shutdown", "5"),
            ),
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
            after=code_servers,
        ),
        Service(
            name="dagster-daemon",
            title="Dagster daemon",
            command=(python, "-m", "dagster._daemon", "run", *workspace),
            is_ready=lambda since: _daemon_beats(dagster_url, since),
            after=code_servers,
        ),
    )
