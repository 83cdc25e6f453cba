"""The backends that generate: which are configured, which is taken by default, and what their targets say.

Belongs here: choosing one, and asking them about themselves, many at once and not often. Does not: generating.
"""

import asyncio
import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

from serving import problems
from serving.delivering import Loc, find_mode
from warehouse.backends import BackendPlugin, Description, UnavailableError, plugins
from warehouse.jobs import JobKind
from warehouse.settings import Settings

PREFERRED: Final = {
    "sdnext": "LORA_MANAGER_SDNEXT_URL",
    "a1111": "LORA_MANAGER_A1111_URL",
    "comfyui": "LORA_MANAGER_COMFYUI_URL",
    "diffusers": "LORA_MANAGER_DIFFUSERS_MODEL",
}
"""The backends in the order in which one is taken where none is named, and the setting that configures each."""
PATIENCE: Final = 3.0
"""Seconds that a target has to say something of itself."""
_FRESH: Final = 10.0
"""Seconds for which what was said is said again."""
_LOC: Final = ("body", "backend")
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Report:
    """A backend, and what its target said."""

    plugin: BackendPlugin
    reachable: bool | None
    """None: it cannot be asked."""
    said: Description = field(default_factory=Description)
    error: str | None = None


def generating(settings: Settings, installed: Mapping[str, BackendPlugin] | None = None) -> list[BackendPlugin]:
    """The configured backends that generate, the default one first."""
    ranks = {name: rank for rank, name in enumerate(PREFERRED)}
    found = [
        plugin
        for plugin in (plugins() if installed is None else installed).values()
        if plugin.kind is JobKind.GENERATION and plugin.is_configured(settings)
    ]
    return sorted(found, key=lambda plugin: (ranks.get(plugin.name, len(ranks)), plugin.name))


def choose(settings: Settings, name: str | None, loc: Loc = _LOC) -> str:
    """The backend of a request.

    Raises:
        Problem: 422, there is none of that name, or it does not generate; 503, none is configured.
    """
    if name is not None:
        if find_mode(name, settings, loc).kind is not JobKind.GENERATION:
            raise problems.invalid(loc, f"{name} delivers prompts and makes no pictures: see GET /generation/backends")
        return name
    configured = generating(settings)
    if not configured:
        raise problems.Problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"no backend that generates is configured: set one of {', '.join(PREFERRED.values())}",
            kind="no-backend",
            title="No Backend",
        )
    return configured[0].name


class Backends:
    """Asks the configured backends about themselves, and keeps the answers for some seconds."""

    def __init__(self, settings: Settings, installed: Mapping[str, BackendPlugin] | None = None) -> None:
        """All installed plugins, or those given."""
        self._settings = settings
        self._installed = installed
        self._lock = asyncio.Lock()
        self._kept: tuple[float, list[Report]] | None = None

    async def reports(self) -> list[Report]:
        """What they say, the default one first; at most ten seconds old."""
        async with self._lock:
            if self._kept is None or time.monotonic() - self._kept[0] > _FRESH:
                asked = [self._ask(plugin) for plugin in generating(self._settings, self._installed)]
                self._kept = (time.monotonic(), await asyncio.gather(*asked))
            return self._kept[1]

    async def _ask(self, plugin: BackendPlugin) -> Report:
        if plugin.describe is None:
            return Report(plugin, None, error="this backend cannot be asked; a generation shows whether it works")
        try:
            async with asyncio.timeout(PATIENCE):
                return Report(plugin, True, await plugin.describe(self._settings))
        except UnavailableError as error:
            return Report(plugin, False, error=str(error))
        except TimeoutError:
            return Report(plugin, False, error=f"no answer within {PATIENCE:g} s")
        except Exception:
            # A plugin of others: its defect must not take the rest.
            _log.exception("the backend %s failed to describe itself", plugin.name)
            return Report(plugin, False, error="unexpected error; the log has it")
