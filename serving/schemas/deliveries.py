"""Deliveries in requests and answers. The shape of the rows is `warehouse.queries.jobs.JobRow`."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from serving.schemas.jobs import JobFields, JobPage

DELIVERY_ID = "0190a6f2-7c1e-7b5a-9c55-0b8f6f2f7f12"
MAX_PROMPT = 100_000

DELIVERY_EXAMPLE: dict[str, Any] = {
    "id": DELIVERY_ID,
    "kind": "delivery",
    "mode": "http",
    "prompt": "a knight <lora:Ink Dragon:0.75>",
    "params": {"url": "http://127.0.0.1:9000/prompts"},
    "status": "succeeded",
    "result": {"status": 200, "body": "ok", "content_type": "text/plain", "truncated": False},
    "error": None,
    "progress": 100.0,
    "attempts": 1,
    "max_attempts": 3,
    "priority": 0,
    "not_before": None,
    "cancel_requested": False,
    "run_id": "0c7a41f3-6f6e-4b7c-9a0f-3a3b8d1f6f10",
    "created_at": "2026-01-01T08:00:00Z",
    "started_at": "2026-01-01T08:00:00.021Z",
    "finished_at": "2026-01-01T08:00:00.034Z",
}


class Status(StrEnum):
    """Where a delivery stands."""

    PENDING = "pending"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class NewDelivery(BaseModel):
    """A prompt to deliver."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "prompt": "a knight <lora:Ink Dragon:0.75>",
                    "mode": "http",
                    "params": {"url": "http://127.0.0.1:9000/prompts"},
                },
                {"prompt": "a knight", "mode": "cli", "params": {"command": "print"}},
            ]
        },
    )

    prompt: str = Field(max_length=MAX_PROMPT)
    mode: str = Field(max_length=32, description="How: one of the modes of `GET /deliveries/modes`.")
    params: dict[str, Any] = Field(default_factory=dict, description="Of the mode, as `GET /deliveries/modes` says.")


class DeliveryAccepted(BaseModel):
    """The delivery waits for its turn."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"delivery_id": DELIVERY_ID, "status": "pending"}]})

    delivery_id: str
    status: str


class Delivery(JobFields):
    """A delivery from the request to its end."""

    model_config = ConfigDict(json_schema_extra={"examples": [DELIVERY_EXAMPLE]})

    kind: str = Field(description="`delivery`, or `generation` where the mode generates images.")
    mode: str
    status: Status
    result: dict[str, Any] | None = Field(description="What the target answered; null until the end.")
    max_attempts: int
    priority: int
    not_before: datetime | None = Field(description="When a repeated attempt is due.")
    run_id: str | None = Field(description="The Dagster run that last started it.")


class DeliveryPage(JobPage):
    """One page of deliveries, newest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "items": [DELIVERY_EXAMPLE],
                    "total": 1,
                    "limit": 100,
                    "offset": 0,
                    "next_cursor": None,
                    "filtered": 1,
                    "page": 1,
                    "pages": 1,
                    "per_page": 100,
                }
            ]
        }
    )

    items: list[Delivery]


class Mode(BaseModel):
    """A way to deliver."""

    name: str
    description: str
    kind: str
    configured: bool = Field(description="Whether the settings name what it needs; without, it is refused.")
    params: dict[str, Any] = Field(description="JSON Schema of its parameters.")


class ModeList(BaseModel):
    """The installed modes."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "modes": [
                        {
                            "name": "http",
                            "description": "POSTs the prompt as JSON to a URL.",
                            "kind": "delivery",
                            "configured": True,
                            "params": {"type": "object", "properties": {"url": {"type": "string"}}},
                        }
                    ]
                }
            ]
        }
    )

    modes: list[Mode]
