"""What deliveries and generations have in common: they are the same rows, and lists of both are paged alike.

Does not belong here: what only one of them shows, and the names of their states.
"""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, Field


class JobFields(BaseModel):
    """A job from the request to its end."""

    id: str
    prompt: str = Field(description="As it was composed.")
    params: dict[str, Any] = Field(
        description="As they were asked for; a large text, such as a picture, is an object with its `bytes`."
    )
    error: str | None = Field(description="Why it failed, or why it waits for another attempt.")
    progress: float = Field(description="0..100, never falling.")
    attempts: int = Field(description="How often it was started.")
    cancel_requested: bool = Field(description="Whether a running one is being cancelled.")
    created_at: datetime
    started_at: datetime | None = Field(description="Of the first attempt.")
    finished_at: datetime | None = Field(description="Null until the end.")


class JobPage(BaseModel):
    """One page of a list, newest first; `items` beside it."""

    total: int = Field(description="How many pass the filters, exactly.")
    limit: int
    offset: int = Field(description="How many come before this page.")
    next_cursor: str | None = Field(description="Pass it as `cursor` for the next page; null at the end.")
    filtered: int = Field(description="The same as `total`.")
    page: int = Field(description="From 1.")
    pages: int
    per_page: int = Field(description="The same as `limit`.")
