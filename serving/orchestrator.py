"""Whether Dagster is there: its webserver and its daemon, asked for over GraphQL.

Belongs here: reading Dagster's state. Does not: asking it for runs (`runs`). The API answers whether or not Dagster
does, so nothing but the health report waits for this, and that at most `TIMEOUT` seconds.
"""

import asyncio
import time
from dataclasses import dataclass

import httpx

from warehouse.settings import Settings

TIMEOUT = 2.0
_FRESH = 5.0
"""Seconds for which a state is answered again without asking."""
_QUERY = "{ version instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } } }"


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


class Orchestrator:
    """Asks the Dagster that the settings name, and keeps the answer for a few seconds."""

    def __init__(self, settings: Settings) -> None:
        # Proxies of the environment are for the outside; this is a neighbour.
        self._client = httpx.AsyncClient(base_url=settings.dagster_url, timeout=TIMEOUT, trust_env=False)
        self._lock = asyncio.Lock()
        self._kept: tuple[float, DagsterState] | None = None

    async def state(self) -> DagsterState:
        """The state, at most five seconds old."""
        async with self._lock:
            if self._kept is None or time.monotonic() - self._kept[0] > _FRESH:
                self._kept = (time.monotonic(), await self._ask())
            return self._kept[1]

    async def _ask(self) -> DagsterState:
        try:
            response = await self._client.post("/graphql", json={"query": _QUERY})
            data = response.raise_for_status().json()["data"]
            daemons = data["instance"]["daemonHealth"]["allDaemonStatuses"]
            down = sorted(daemon["daemonType"] for daemon in daemons if daemon["required"] and not daemon["healthy"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            return DagsterState(False, False, f"Dagster's webserver does not answer ({type(error).__name__})")
        if down:
            return DagsterState(True, False, f"no heartbeat of: {', '.join(down)}; is dagster-daemon running?")
        return DagsterState(True, True, f"Dagster {data['version']}")

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
