"""Whether Dagster is there: its webserver and its daemon, asked for over GraphQL.

Belongs here: reading Dagster's state. Does not: asking it for runs. The API answers whether or not Dagster does, so
nothing but the health report waits for this, and that at most `TIMEOUT` seconds; whoever only shows the state says how
long it may wait, and gets the last one known.
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
            down = sorted(daemon["daemonType"] for daemon in daemons if daemon["required"] and not daemon["healthy"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            return DagsterState(False, False, f"Dagster's webserver does not answer ({type(error).__name__})")
        if down:
            return DagsterState(True, False, f"no heartbeat of: {', '.join(down)}; is dagster-daemon running?")
        return DagsterState(True, True, f"Dagster {data['version']}")

    async def close(self) -> None:
        """Close the connections."""
        if self._asking is not None:
            self._asking.cancel()
        await self._client.aclose()
