"""Events of jobs as the messages that listeners get: flat JSON objects with `type`, `seq` and `timestamp`.

Pure. The states of a generation have other names than those of a job (`queued`, `completed`): both are told, for a
delivery to a generator is a generation too.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from warehouse.jobs import JobKind, JobStatus
from warehouse.queries.jobs import EventRow

PING_SECONDS: Final = 15.0

GENERATION_STATUS: Final = {
    JobStatus.PENDING: "queued",
    JobStatus.RUNNING: "running",
    JobStatus.SUCCEEDED: "completed",
    JobStatus.FAILED: "failed",
    JobStatus.CANCELLED: "cancelled",
}
"""How a generation's status is called."""
_ENDS: Final = {
    JobStatus.SUCCEEDED: "generation_complete",
    JobStatus.FAILED: "generation_error",
    JobStatus.CANCELLED: "generation_cancelled",
}
_TICK: Final = ("step", "steps", "eta")


@dataclass(frozen=True, slots=True)
class Message:
    """One message. Its result, if it has one, is put in when it is sent: pictures are not kept in memory."""

    type: str
    seq: int
    at: datetime
    body: dict[str, Any] = field(default_factory=dict)
    job_id: str | None = None
    is_tick: bool = False
    """Whether the next message of the same type and job makes it worthless."""
    needs_result: bool = False
    is_end: bool = False
    """Whether it is the last one of its job, unless that is tried again."""

    def content(self) -> dict[str, Any]:
        """What is sent."""
        return {"type": self.type, "seq": self.seq, "timestamp": self.at, **self.body}


class Translator:
    """Turns events into messages, and keeps the progress of each job from falling."""

    REMEMBERED: Final = 10_000
    """Jobs whose progress is remembered; more are never in flight."""

    def __init__(self) -> None:
        self._progress: dict[str, float] = {}

    def messages(self, event: EventRow) -> list[Message]:
        """The messages of an event, in order."""
        if event.kind != JobKind.GENERATION.value:
            return self._of_delivery(event)
        if "status" not in event.payload:
            return [self._progress_of(event, JobStatus.RUNNING)]
        status = JobStatus(event.payload["status"])
        told = self._end_of(event, status) if status.is_final else self._progress_of(event, status)
        return [told, _delivery_update(event)]

    def _of_delivery(self, event: EventRow) -> list[Message]:
        return [_delivery_update(event)] if "status" in event.payload else []

    def _progress_of(self, event: EventRow, status: JobStatus) -> Message:
        progress = max(self._progress.pop(event.job_id, 0.0), float(event.payload.get("progress", 0.0)))
        self._progress[event.job_id] = progress
        while len(self._progress) > self.REMEMBERED:
            del self._progress[next(iter(self._progress))]
        body: dict[str, Any] = {
            "job_id": event.job_id,
            "progress": progress,
            "status": GENERATION_STATUS[status],
            **{name: event.payload.get(name) for name in _TICK},
        }
        if event.payload.get("preview"):
            body["preview"] = event.payload["preview"]
        is_tick = "status" not in event.payload
        return Message("generation_progress", event.seq, event.at, body, event.job_id, is_tick=is_tick)

    def _end_of(self, event: EventRow, status: JobStatus) -> Message:
        self._progress.pop(event.job_id, None)
        body = {"job_id": event.job_id, "status": GENERATION_STATUS[status]}
        if status is JobStatus.FAILED:
            body["error"] = event.payload.get("error") or "it failed; the job says no reason"
        return Message(
            _ENDS[status],
            event.seq,
            event.at,
            body,
            event.job_id,
            needs_result=status is JobStatus.SUCCEEDED,
        )


def _delivery_update(event: EventRow) -> Message:
    """Told last of what an event means, so that it is the end."""
    status: str = event.payload["status"]
    body = {"job_id": event.job_id, "status": status}
    if event.payload.get("error"):
        body["error"] = event.payload["error"]
    is_end = JobStatus(status).is_final
    return Message("delivery_update", event.seq, event.at, body, event.job_id, is_end=is_end)
