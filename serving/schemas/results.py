"""Pictures that generations made, as lists and galleries show them. What is not known is absent, not null."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from serving.schemas.adapters import ADAPTER_ID
from serving.schemas.generation import IMAGE_URL, JOB_ID

RESULT_ID = "0190a6f2-7c1e-7b5a-9c55-0b8f6f2f7f14"
MAX_IDS = 1_000
"""Pictures of one request."""

_RESULT_EXAMPLE: dict[str, Any] = {
    "id": RESULT_ID,
    "job_id": JOB_ID,
    "created_at": "2026-01-01T08:00:04.3Z",
    "image_url": IMAGE_URL,
    "sha256": "5a" * 32,
    "format": "png",
    "size": 412_331,
    "backend": "sdnext",
    "prompt": "a knight <lora:Ink Dragon:0.8>",
    "width": 768,
    "height": 512,
    "steps": 20,
    "seed": 7,
    "rating": 4,
    "is_favorite": True,
    "loras": [{"id": ADAPTER_ID, "name": "Ink Dragon", "weight": 0.8}],
}


class ImageResultLora(BaseModel):
    """An adapter that was asked for by id."""

    id: str
    name: str
    weight: float


class ImageResult(BaseModel):
    """A picture, with what it was made of. What is not known is absent."""

    model_config = ConfigDict(json_schema_extra={"examples": [_RESULT_EXAMPLE]})

    id: str
    job_id: str
    created_at: datetime
    image_url: str = Field(description="Signed: a browser can show it for at least an hour.")
    sha256: str
    format: str = Field(description="png, jpg or webp.")
    size: int = Field(description="Bytes.")
    backend: str
    prompt: str
    is_favorite: bool = Field(strict=True)
    negative_prompt: str = ""
    width: int = Field(0, description="Pixels.")
    height: int = Field(0, description="Pixels.")
    steps: int = 0
    cfg_scale: float = 0
    seed: int = 0
    sampler_name: str = ""
    rating: int = Field(0, description="1..5.")
    loras: list[ImageResultLora] = []


class Rating(BaseModel):
    """How good a picture is."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"rating": 4}]})

    rating: int | None = Field(ge=0, le=5, description="1..5; null, or 0, takes it away.")


class Favorite(BaseModel):
    """Whether a picture is marked."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"is_favorite": True}]})

    is_favorite: bool = Field(strict=True)


def _as_text(key: Any) -> Any:
    """Front ends of other servers also know ids that are numbers: no picture has one, so it is not found."""
    return str(key) if isinstance(key, int) and not isinstance(key, bool) else key


Id = Annotated[
    str,
    Field(max_length=100),
    BeforeValidator(_as_text),
    WithJsonSchema({"anyOf": [{"type": "string", "maxLength": 100}, {"type": "integer"}]}),
]
Ids = Annotated[list[Id], Field(min_length=1, max_length=MAX_IDS)]


class ManyResults(BaseModel):
    """Some pictures."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"ids": [RESULT_ID]}]})

    ids: Ids


class ManyFavorites(Favorite):
    """Whether some pictures are marked."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"ids": [RESULT_ID], "is_favorite": True}]}
    )

    ids: Ids


class Export(ManyResults):
    """Pictures to be packed."""

    include_metadata: bool = Field(True, description="With `manifest.json`, which says what each was made of.")


class ChangedResults(BaseModel):
    """What became of many pictures."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"changed": 1, "not_found": []}]})

    changed: int = Field(description="How many were there.")
    not_found: list[str] = Field(description="Ids of no picture, or of one that was deleted before.")
