"""The audit log in answers."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from serving.schemas.adapters import ADAPTER_ID


class AuditEntry(BaseModel):
    """One change of one thing."""

    id: int
    timestamp: datetime
    actor: str | None = Field(description="Name of the API key; null where no keys were configured.")
    request_id: str = Field(description="As in `X-Request-ID` and in the log.")
    action: str = Field(description="create, update, activate, deactivate, tag, untag, favorite, unfavorite, delete, …")
    subject_kind: str = Field(description="`adapter`, …")
    subject_id: str = Field(description="It may be gone.")
    before: dict[str, Any] | None = Field(description="The changed fields as they were; null: it did not exist.")
    after: dict[str, Any] | None = Field(description="The changed fields as they became; null: it was deleted.")


class AuditPage(BaseModel):
    """Entries, newest first."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "items": [
                        {
                            "id": 17,
                            "timestamp": "2026-01-01T08:00:00Z",
                            "actor": "editing",
                            "request_id": "0190a6f2-7c1e-7b5a-9c55-0b8f6f2f7f12",
                            "action": "update",
                            "subject_kind": "adapter",
                            "subject_id": ADAPTER_ID,
                            "before": {"weight": 1.0},
                            "after": {"weight": 0.75},
                        }
                    ],
                    "next_before": None,
                }
            ]
        }
    )

    items: list[AuditEntry]
    next_before: int | None = Field(description="`before` of the next page; null on the last one.")
