"""Vectors computed on request: of one adapter or a few in this process, of many by a run of Dagster.

Belongs here: which of the two, how much of this process it may take, and the reasons that a client is told. Does not:
computing (`warehouse.vectors`) and talking to Dagster (`orchestrator`).
"""

import logging
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import partial

from anyio import CapacityLimiter, to_thread

from serving.orchestrator import Orchestrator
from warehouse.contracts import Job, Tag, Trigger, vectors_config
from warehouse.engine import Database
from warehouse.settings import Settings
from warehouse.vectors.encoders import EncoderError
from warehouse.vectors.requested import Computed, compute_requested, look_up
from warehouse.vectors.spaces import SPACES

IN_CALL = 32
"""Adapters that are computed inside a call: two seconds on two idle cores, half a minute on busy ones."""
_AT_ONCE = 2
"""Calls that compute at a time. Others wait without holding a thread, so that every other route goes on."""
_NO_MODEL = "an embedding model cannot be used on this machine: `lora-manager doctor` says why and what to do"
_UNKNOWN = "there is no such adapter"
_GONE = "it was deleted meanwhile"
_NOTHING = Computed(frozenset(), frozenset(), {})
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of adapters that were to be computed, so far."""

    computed: int = 0
    """Adapters of which vectors were written."""
    current: int = 0
    """Adapters whose vectors were current."""
    failures: dict[str, str] = field(default_factory=dict)
    """Reasons by id."""
    gone: frozenset[str] = frozenset()
    """Of the failures, adapters that do not exist."""
    queued: int = 0
    run_id: str | None = None
    note: str | None = None
    seconds: float = 0.0


class Embedder:
    """Computes vectors of given adapters for whoever asks. Made and used in one event loop."""

    def __init__(self, database: Database, settings: Settings, orchestrator: Orchestrator) -> None:
        self._database, self._settings, self._orchestrator = database, settings, orchestrator
        self._slots = CapacityLimiter(_AT_ONCE)

    async def compute(self, adapter_ids: Sequence[str], *, force: bool, request_id: str) -> Outcome:
        """Compute what is due of adapters, each named once, in every space: here, or by a run where many are due.

        Raises:
            LaunchError: many are due, and Dagster takes no run; nothing was computed or queued.
        """
        began = time.perf_counter()
        look = partial(look_up, self._database, self._settings, adapter_ids, force=force)
        try:
            wanted = await to_thread.run_sync(look)
            if len(wanted.due) > IN_CALL:
                run_id, note = await self._launch(sorted(wanted.due), force=force, request_id=request_id)
                done, queued = _NOTHING, len(wanted.due)
            else:
                run_id, note, queued = None, None, 0
                done = await self._compute(wanted.due, force=force)
        except EncoderError:
            # Its message names folders of this machine: it is for the log.
            _log.exception("vectors were asked for, and a model cannot be used")
            failures = dict.fromkeys(adapter_ids, _NO_MODEL)
            return Outcome(failures=failures, seconds=time.perf_counter() - began)
        reasons = {
            **dict.fromkeys(wanted.unknown, _UNKNOWN),
            **dict.fromkeys(done.gone, _GONE),
            **{key: _lacking(spaces) for key, spaces in done.lacking.items()},
        }
        return Outcome(
            computed=len(done.computed),
            current=len(wanted.current),
            failures={key: reasons[key] for key in adapter_ids if key in reasons},
            gone=wanted.unknown | done.gone,
            queued=queued,
            run_id=run_id,
            note=note,
            seconds=time.perf_counter() - began,
        )

    async def _compute(self, ids: Collection[str], *, force: bool) -> Computed:
        if not ids:
            return _NOTHING
        compute = partial(compute_requested, self._database, self._settings, ids, force=force)
        return await to_thread.run_sync(compute, limiter=self._slots)

    async def _launch(self, ids: Sequence[str], *, force: bool, request_id: str) -> tuple[str, str | None]:
        """The run that computes them, and what a client should know of it."""
        config = vectors_config([space.name for space in SPACES], force=force, adapter_ids=ids)
        tags = {Tag.TRIGGER: Trigger.API, Tag.REQUEST: request_id}
        run_id = await self._orchestrator.launch(Job.REFRESH_VECTORS, config, tags)
        state = await self._orchestrator.state()
        return (
            run_id,
            None if state.daemon else f"the run is queued and starts once Dagster's daemon does: {state.detail}",
        )


def _lacking(spaces: Collection[str]) -> str:
    return (
        f"no vector could be made in the space{'s' if len(spaces) > 1 else ''} {', '.join(spaces)}: the model gave "
        "none that is finite, or the adapter was changed meanwhile; try again"
    )
