"""Dagster as a neighbour: whether it is there, and runs asked of it, over GraphQL.

Belongs here: reading Dagster's state, launching a run. Does not: which work becomes a run (the services that ask) and
what a run does. The API answers whether or not Dagster does: the health report waits for it `TIMEOUT` seconds at most,
a request for a run `LAUNCH_TIMEOUT`; whoever only shows the state says how long it may wait, and gets the last one
known.
"""

import asyncio
import logging
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

import httpx

from warehouse.contracts import CODE_LOCATION, REPOSITORY
from warehouse.settings import Settings

TIMEOUT = 2.0
LAUNCH_TIMEOUT = 20.0
"""A run is queued in a tenth of a second; on a busy machine that takes some seconds."""
_FRESH = 5.0
"""Seconds for which a state is answered again without asking."""
_SILENT_SECONDS = 180.0
"""Dagster calls a daemon healthy for half an hour after its last heartbeat, which comes every 30 s."""
_QUERY = "{ version instance { daemonHealth { allDaemonStatuses { daemonType required healthy lastHeartbeatTime } } } }"
_LAUNCH = """
mutation Launch($parameters: ExecutionParams!) {
  launchRun(executionParams: $parameters) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on Error { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}
"""
_log = logging.getLogger(__name__)


class LaunchError(RuntimeError):
    """Dagster did not take a run; the message says why, in words for a client."""


@dataclass(frozen=True, slots=True)
class DagsterState:
    """What Dagster said of itself."""

    webserver: bool
    daemon: bool
    detail: str

    @property
    def status(self) -> str:
        """In one word."""
        if not self.webserver:
            return "unreachable"
        return "ready" if self.daemon else "daemon_down"


@cache
def _authorities() -> ssl.SSLContext:
    """Whose certificates are believed; reading them takes longer than all else that an application starts with."""
    return httpx.create_ssl_context(trust_env=False)


def _beats(daemon: Mapping[str, Any]) -> bool:
    last = daemon["lastHeartbeatTime"]
    return bool(daemon["healthy"]) and last is not None and time.time() - float(last) < _SILENT_SECONDS


class Orchestrator:
    """Asks the Dagster that the settings name, and keeps what it says of itself for a few seconds."""

    def __init__(self, settings: Settings) -> None:
        # Proxies of the environment are for the outside; this is a neighbour.
        self._client = httpx.AsyncClient(
            base_url=settings.dagster_url, timeout=TIMEOUT, trust_env=False, verify=_authorities()
        )
        self._asking: asyncio.Task[DagsterState] | None = None
        self._kept: tuple[float, DagsterState] | None = None

    async def state(self, patience: float | None = None) -> DagsterState:
        """The state, at most five seconds old.

        Args:
            patience: seconds to wait for an answer at most; then it is the last state known, if any.
        """
        if self._kept is not None and time.monotonic() - self._kept[0] <= _FRESH:
            return self._kept[1]
        if self._asking is None or self._asking.done():
            self._asking = asyncio.create_task(self._keep())
        # Shielded by `wait`: one question serves everybody who asks meanwhile.
        done, _ = await asyncio.wait({self._asking}, timeout=patience)
        if done:
            return self._asking.result()
        return self._kept[1] if self._kept is not None else DagsterState(False, False, "Dagster has not answered yet")

    async def _keep(self) -> DagsterState:
        state = await self._ask()
        self._kept = (time.monotonic(), state)
        return state

    async def _ask(self) -> DagsterState:
        try:
            response = await self._client.post("/graphql", json={"query": _QUERY})
            data = response.raise_for_status().json()["data"]
            daemons = data["instance"]["daemonHealth"]["allDaemonStatuses"]
            down = sorted(daemon["daemonType"] for daemon in daemons if daemon["required"] and not _beats(daemon))
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            return DagsterState(False, False, f"Dagster's webserver does not answer ({type(error).__name__})")
        if down:
            return DagsterState(True, False, f"no heartbeat of: {', '.join(down)}; is dagster-daemon running?")
        return DagsterState(True, True, f"Dagster {data['version']}")

    async def launch(
        self,
        job: str,
        run_config: Mapping[str, Any],
        tags: Mapping[str, str],
        *,
        location: str = CODE_LOCATION,
        timeout: float = LAUNCH_TIMEOUT,
    ) -> str:
        """Queue a run of a job of a code location, waiting so many seconds at most; returns its id.

        The run is Dagster's from then on, whatever happens to this process.

        Raises:
            LaunchError: Dagster does not answer, or refuses. After a timeout the run may be queued all the same.
        """
        parameters = {
            "selector": {
                "repositoryLocationName": location,
                "repositoryName": REPOSITORY,
                "jobName": job,
            },
            "runConfigData": run_config,
            "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
        }
        body = {"query": _LAUNCH, "variables": {"parameters": parameters}}
        try:
            response = await self._client.post("/graphql", json=body, timeout=timeout)
            answer = response.raise_for_status().json()["data"]["launchRun"]
            kind = answer["__typename"]
            if kind == "LaunchRunSuccess":
                return str(answer["run"]["runId"])
        except httpx.ReadTimeout as error:
            raise LaunchError(
                f"Dagster did not answer within {timeout:.0f} s and may have taken the run: look for it in "
                "Dagster's UI before asking again"
            ) from error
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            _log.warning("Dagster did not take a run of %s: %s: %s", job, type(error).__name__, error)
            raise LaunchError("Dagster's webserver does not answer") from error
        # What it says may hold paths of the machine: it is for the log.
        _log.error("Dagster refused a run of %s: %s", job, answer)
        raise LaunchError(f"Dagster refused the run ({kind}); the log of the API says why")

    async def close(self) -> None:
        """Close the connections."""
        if self._asking is not None:
            self._asking.cancel()
        await self._client.aclose()
