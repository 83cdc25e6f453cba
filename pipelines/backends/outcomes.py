"""How attempts at a generation end, in the shape that every backend gives them.

Belongs here: outcomes and the result of a success. Does not: telling one from the other (the backends).
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

from pipelines.backends import pictures
from pipelines.backends.pictures import Made
from pipelines.backends.storable import storable, text
from warehouse.backends import Outcome
from warehouse.generating import FAILURE, LORA_REPORT, PICTURES, Failure
from warehouse.jobs import JobStatus
from warehouse.models.base import JsonObject
from warehouse.pictures import PictureStore

_BULK = frozenset({"init_images", "mask", "latent_mask", "script_args", "alwayson_scripts", "workflow"})
"""Parameters that hold pictures or more, and are not shown again."""


def failed(error: str, failure: Failure, **members: Any) -> Outcome:
    """It failed, and would again."""
    return Outcome(JobStatus.FAILED, {FAILURE: failure.value, **storable(members)}, text(error))


def again(error: str, failure: Failure, *, retry_in: float) -> Outcome:
    """It may succeed later; out of attempts it has failed as this says."""
    return Outcome(JobStatus.PENDING, {FAILURE: failure.value}, text(error), retry_in=retry_in)


def cancelled(error: str) -> Outcome:
    """Somebody wanted it no more; what was made by then is no result."""
    return Outcome(JobStatus.CANCELLED, error=f"cancelled; {error}")


async def succeeded(
    store: PictureStore,
    made: Sequence[Made],
    *,
    backend: str,
    server: Mapping[str, Any],
    parameters: Mapping[str, Any],
    info: Mapping[str, Any],
    seconds: float,
    report: Mapping[str, Any],
    warnings: Sequence[str],
) -> Outcome:
    """It has pictures: they are kept, and the result says which.

    Raises:
        UnknownPictureError: what was made is no picture.
    """
    kept = await asyncio.to_thread(pictures.keep, store, made)
    shown = {name: value for name, value in parameters.items() if value is not None and name not in _BULK}
    result: JsonObject = {
        PICTURES: kept,
        "parameters": shown,
        "info": info,
        "generation_time": round(seconds, 3),
        LORA_REPORT: report,
        "warnings": list(warnings),
        "backend": backend,
        "server": server,
    }
    preview = await asyncio.to_thread(pictures.small, made[0].data) if made else None
    markdown = f"![the first picture](data:image;base64,{preview})" if preview else None
    return Outcome(JobStatus.SUCCEEDED, storable(result), preview=markdown)
