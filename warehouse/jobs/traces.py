"""What a job that succeeded leaves behind besides its row: the pictures it made, and the adapters it used.

Written in the transaction of its end, so that neither is ever without the other. Belongs here: these rows. Does not:
the job itself (`finishing`), the bytes of pictures (`warehouse.pictures`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert

from warehouse.generating import LORA_REPORT, PICTURES
from warehouse.ids import new_id
from warehouse.jobs.changes import JobKind
from warehouse.jobs.claiming import ClaimedJob
from warehouse.lora_tokens import tokens_of
from warehouse.models import AdapterUse, GeneratedImage
from warehouse.models.base import JsonObject
from warehouse.queries import named_adapters

_USED = ("applied", "unverified")
"""Of a report of LoRAs: the pictures were made with these, as far as is known."""
_PICTURE = ("sha256", "format", "width", "height", "size", "seed", "infotext")
_REQUIRED = _PICTURE[:5]


@dataclass(frozen=True, slots=True)
class Succeeded:
    """A job that did."""

    job: ClaimedJob
    result: JsonObject | None


@dataclass(frozen=True, slots=True)
class _Use:
    """An adapter of a prompt."""

    name: str
    weight: float
    status: str
    adapter_id: str | None = None


def record_traces(connection: Connection, ended: Sequence[Succeeded], now: datetime) -> None:
    """Write what jobs leave behind; a fixed number of statements, however many they are."""
    images = [row for each in ended for row in _images(each, now)]
    if images:
        connection.execute(insert(GeneratedImage), images)
    uses = [(each.job, _uses(each)) for each in ended]
    unnamed = {use.name for _, found in uses for use in found if use.adapter_id is None}
    known = {name: versions[0].id for name, versions in named_adapters.by_names(connection, unnamed).items()}
    rows = [row for job, found in uses for row in _rows(job, found, known, now)]
    if rows:
        connection.execute(insert(AdapterUse), rows)


def _images(ended: Succeeded, now: datetime) -> list[dict[str, Any]]:
    job = ended.job
    if job.kind != JobKind.GENERATION:
        return []
    return [
        {
            "id": new_id(),
            "job_id": job.id,
            "position": position,
            "mode": job.mode,
            "prompt": job.prompt,
            "params": job.params,
            "is_favorite": False,
            "created_at": now,
            **{name: picture.get(name) for name in _PICTURE},
        }
        for position, picture in enumerate(_members((ended.result or {}).get(PICTURES), _REQUIRED))
    ]


def _members(value: Any, required: Sequence[str]) -> list[dict[str, Any]]:
    """The items of a list that have what they must; plugins of others make results too."""
    items = value if isinstance(value, list) else []
    return [item for item in items if isinstance(item, dict) and all(item.get(name) is not None for name in required)]


def _uses(ended: Succeeded) -> list[_Use]:
    """The adapters of a prompt, each name once: as a report has them, else as the tokens do."""
    report = (ended.result or {}).get(LORA_REPORT)
    if isinstance(report, dict):
        found = [
            _Use(entry["name"], entry["weight"], status, entry.get("lora_id"))
            for status in _USED
            for entry in _members(report.get(status), ("name", "weight"))
        ]
    else:
        found = [_Use(token.name, token.weight, "sent") for token in tokens_of(ended.job.prompt)]
    return list({use.name: use for use in found}.values())


def _rows(job: ClaimedJob, found: Sequence[_Use], known: dict[str, str], now: datetime) -> list[dict[str, Any]]:
    names = sorted(use.name for use in found)
    return [
        {
            "job_id": job.id,
            "kind": job.kind,
            "mode": job.mode,
            "adapter_id": use.adapter_id or known.get(use.name),
            "name": use.name,
            "weight": use.weight,
            "status": use.status,
            "others": [name for name in names if name != use.name],
            "actor": job.actor,
            "used_at": now,
        }
        for use in found
    ]
