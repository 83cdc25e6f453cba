"""Which weight to use an adapter with: shown wherever an adapter is recommended or composed."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

STRENGTH_EXAMPLE: dict[str, Any] = {
    "suggested_weight": 0.7,
    "evidence": "median 0.7 in 24 example images",
    "count": 24,
    "low": 0.6,
    "high": 0.8,
}


class Strength(BaseModel):
    """The weight to use an adapter with, and how that is known."""

    model_config = ConfigDict(json_schema_extra={"examples": [STRENGTH_EXAMPLE]})

    suggested_weight: float = Field(
        description="The median of its example images; where they state none, the weight that its metadata prefers."
    )
    evidence: str = Field(description="Where the weight is from, for people.")
    count: int = Field(description="Example images that state a weight for it; 0: its metadata alone does.")
    low: float | None = Field(description="A quarter of the example images state less; null without any.")
    high: float | None = Field(description="A quarter of the example images state more; null without any.")
