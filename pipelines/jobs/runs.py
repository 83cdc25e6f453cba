"""`deliver` and `generate`: the run of a lane as a run of Dagster, in which every job that ended can be seen.

Belongs here: the step, its configuration, what it records. Does not: the work itself (`lanes`).
"""

import asyncio
import queue
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeGuard

import dagster as dg
from pydantic import Field

from pipelines import previews
from pipelines.jobs.lanes import Ending, Finished, LaneRun
from pipelines.queues import ON_DELIVERY
from pipelines.resources import Warehouse
from warehouse.backends import plugins
from warehouse.contracts import LANE_OP, LaneJob

_ALONE = 5
"""Jobs that ended within half a second get an event each; more of them share one, for an event costs 10 ms."""
_TOGETHER = 100
_POLL_SECONDS = 0.5
_STOP_SECONDS = 20.0
_PROMPT_SHOWN = 200
_VALUE_SHOWN = 300
_ASSETS = {"delivery": "deliveries", "generation": "generations"}


class LaneConfig(dg.Config):
    """Which lane."""

    lane: str = Field(description="The lane to work on: the name of an installed backend, such as http.")


def lane_key(kind: str, lane: str) -> dg.AssetKey:
    """The asset that stands for what a lane has done."""
    return dg.AssetKey([_ASSETS[kind], lane])


def lane_assets() -> list[dg.AssetSpec]:
    """The lanes of the installed backends, as assets that are observed and not made."""
    return [
        dg.AssetSpec(
            lane_key(plugin.kind.value, plugin.lane),
            group_name=_ASSETS[plugin.kind.value],
            description=f"Jobs of the mode {plugin.name}. {plugin.description}",
            kinds={"table"},
        )
        for plugin in plugins().values()
    ]


class _Worker:
    """A lane's run in a thread of its own: the main thread stays free for Dagster, whose interrupts come to it."""

    def __init__(self, run: LaneRun, finished: "queue.SimpleQueue[Finished]") -> None:
        self._run, self._finished = run, finished
        self._thread = threading.Thread(target=self._work, name="lane")
        # Waited for in place of the thread: Python up to 3.12 takes a thread for ended whose `join` was interrupted.
        self._over = threading.Event()
        self.ending: Ending | None = None
        self.error: BaseException | None = None

    def _work(self) -> None:
        try:
            self.ending = asyncio.run(self._run.run())
        except BaseException as error:
            self.error = error
        finally:
            self._over.set()

    def batches(self) -> Iterator[list[Finished]]:
        """Jobs as they end, a few times a second, until the run is over. Leaving early stops the run."""
        self._thread.start()
        try:
            while not self._over.is_set():
                batch = self._collect(_POLL_SECONDS)
                if batch:
                    yield batch
        finally:
            self._run.stop()
            self._over.wait(_STOP_SECONDS)
        if batch := self._collect(0):
            yield batch
        if self.error is not None:
            raise self.error

    def _collect(self, seconds: float) -> list[Finished]:
        batch: list[Finished] = []
        self._over.wait(seconds)
        while not self._finished.empty():
            batch.append(self._finished.get())
        return batch


def _row(finished: Finished) -> dict[str, object]:
    ended = finished.ended
    return {
        "job": ended.job.id,
        "status": ended.status.value,
        "attempt": ended.job.attempts,
        "seconds": finished.seconds,
        "prompt": ended.job.prompt[:_PROMPT_SHOWN],
        "error": ended.error,
    }


def _answer(result: Mapping[str, Any]) -> list[str]:
    """A result as tables: one of its values, those of its objects by the names of both, and one of each list of
    objects, such as pictures."""
    values: list[dict[str, object]] = []
    lists: list[str] = []
    for name, value in result.items():
        if _is_rows(value):
            lists.append(f"**{name}**\n\n{previews.table(value)}")
        elif isinstance(value, dict):
            for key, inner in value.items():
                if _is_rows(inner):
                    lists.append(f"**{name}: {key}**\n\n{previews.table(inner)}")
                else:
                    values.append({"field": f"{name}: {key}", "value": inner})
        else:
            values.append({"field": name, "value": value})
    return [previews.table(values, widest=_VALUE_SHOWN), *lists] if values else lists


def _is_rows(value: object) -> TypeGuard[list[dict[str, Any]]]:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _alone(key: dg.AssetKey, finished: Finished) -> dg.AssetObservation:
    ended, row = finished.ended, _row(finished)
    shown = previews.join(previews.table([row]), *_answer(ended.result or {}), finished.preview or "")
    return dg.AssetObservation(
        key,
        description=f"{ended.job.id}: {ended.status.value}",
        metadata={
            "job": ended.job.id,
            "status": ended.status.value,
            "attempts": ended.job.attempts,
            "seconds": finished.seconds,
            "preview": dg.MetadataValue.md(shown),
        },
    )


def _together(key: dg.AssetKey, batch: Sequence[Finished]) -> dg.AssetObservation:
    seconds = sorted(finished.seconds for finished in batch)
    return dg.AssetObservation(
        key,
        description=f"{len(batch)} jobs",
        metadata={
            "jobs": len(batch),
            "failed": sum(finished.ended.status.value == "failed" for finished in batch),
            "seconds": seconds[len(seconds) // 2],
            "preview": dg.MetadataValue.md(previews.table([_row(finished) for finished in batch])),
        },
    )


def _observations(key: dg.AssetKey, batch: Sequence[Finished]) -> Iterator[dg.AssetObservation]:
    if len(batch) <= _ALONE:
        yield from (_alone(key, finished) for finished in batch)
        return
    for first in range(0, len(batch), _TOGETHER):
        yield _together(key, batch[first : first + _TOGETHER])


@dg.op(
    name=LANE_OP,
    out=dg.Out(dg.Nothing),
    description="Takes the lane, unless another run works on it; does its jobs many at once; waits for more, and "
    "leaves when none has come for a while. Every job that ended is an observation of the lane's asset.",
)
def work_on_lane(
    context: dg.OpExecutionContext, config: LaneConfig, warehouse: dg.ResourceParam[Warehouse]
) -> Iterator[dg.AssetObservation | dg.Output[None]]:
    """Work on a lane until there is nothing left to do."""
    plugin = plugins().get(config.lane)
    if plugin is None:
        names = ", ".join(sorted(plugins())) or "none"
        raise dg.Failure(f"there is no backend {config.lane!r}; installed are: {names}", allow_retries=False)
    finished: queue.SimpleQueue[Finished] = queue.SimpleQueue()
    run = LaneRun(warehouse.database, warehouse.settings, plugin, run_id=context.run_id, report=finished.put)
    worker = _Worker(run, finished)
    key = lane_key(plugin.kind.value, plugin.lane)
    for batch in worker.batches():
        yield from _observations(key, batch)
    context.log.info("lane %s: %s; %d jobs started, ended %s", plugin.lane, worker.ending, run.started, run.ended)
    yield dg.Output(None, metadata={"ending": str(worker.ending), "started": run.started, **run.ended})


@dg.job(
    name=LaneJob.DELIVER,
    tags=ON_DELIVERY,
    description="Work on a lane of deliveries. Started when a delivery is asked for and no run works on its lane.",
)
def deliver() -> None:
    """One lane of deliveries."""
    work_on_lane()


@dg.job(
    name=LaneJob.GENERATE,
    tags=ON_DELIVERY,
    description="Work on a lane of generations. Started when one is asked for and no run works on its lane.",
)
def generate() -> None:
    """One lane of generations."""
    work_on_lane()
