"""Adapters in answers. The shape of the rows is `warehouse.queries.adapters.AdapterRow`."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

ADAPTER_ID = "0190a6f2-7c1e-7b5a-9c55-0b8f6f2f7f11"

ADAPTER_EXAMPLE: dict[str, Any] = {
    "id": ADAPTER_ID,
    "name": "Ink Dragon",
    "version": "v1.0",
    "canonical_version_name": "v1.0",
    "description": "<p>Dragons in flowing ink.</p>",
    "author_username": "brushwork",
    "visibility": "Public",
    "published_at": "2025-03-02T09:30:00Z",
    "tags": ["dragon", "ink", "style"],
    "trained_words": ["inkdragon, flowing ink"],
    "triggers": ["inkdragon", "flowing ink"],
    "activation_text": "inkdragon, flowing ink",
    "negative_text": None,
    "archetype": "style",
    "archetype_confidence": 0.91,
    "base_model": "SDXL 1.0",
    "sd_version": "SDXL",
    "nsfw_level": 1,
    "supports_generation": True,
    "civitai_model_id": 101,
    "civitai_version_id": 202,
    "downloads": 1480,
    "likes": 212,
    "rating": 4.9,
    "stats": {"downloadCount": 1480, "thumbsUpCount": 212},
    "licence": {"allow_no_credit": True, "allow_derivatives": True},
    "extra": {},
    "file_path": "/library/style/ink-dragon.safetensors",
    "file_state": "present",
    "primary_file_name": "ink-dragon.safetensors",
    "primary_file_size_kb": 223099.1,
    "primary_file_sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
    "primary_file_download_url": "https://civitai.com/api/download/models/202",
    "primary_file_local_path": "/library/style/ink-dragon.safetensors",
    "preview_url": f"/api/v1/adapters/{ADAPTER_ID}/preview?expires=1767225600&signature=5d41402abc4b2a76",
    "json_file_path": "/library/style/ink-dragon.civitai.info",
    "json_file_mtime": "2025-03-02T10:00:00Z",
    "json_file_size": 18230,
    "weight": 1.0,
    "weight_by_user": False,
    "active": False,
    "ordinal": None,
    "favorite": False,
    "user_tags": [],
    "user_notes": None,
    "last_ingested_at": "2026-01-01T08:00:00Z",
    "created_at": "2026-01-01T08:00:00Z",
    "updated_at": "2026-01-01T08:00:00Z",
}


class Adapter(BaseModel):
    """One LoRA adapter version. Null is "unknown", never a guess."""

    model_config = ConfigDict(json_schema_extra={"examples": [ADAPTER_EXAMPLE]})

    id: str = Field(description="UUID.")
    name: str
    version: str | None
    canonical_version_name: str | None = Field(description="The version's name, cleaned.")
    description: str | None = Field(description="Sanitised HTML.")
    author_username: str | None
    visibility: str = Field(description="`Public`, or the availability that the source states.")
    published_at: datetime | None
    tags: list[str]
    trained_words: list[str] = Field(description="Trigger groups as the author wrote them.")
    triggers: list[str] = Field(description="The trigger groups, split and cleaned.")
    activation_text: str | None = Field(description="What to add to a prompt.")
    negative_text: str | None = Field(description="What the author suggests for the negative prompt.")
    archetype: str | None = Field(description="character, style, concept, clothing, pose, background, object, …")
    archetype_confidence: float | None = Field(description="Calibrated probability of the archetype, 0..1.")
    base_model: str | None = Field(description="As Civitai spells it.")
    sd_version: str | None
    nsfw_level: int = Field(description="Civitai's bit mask: 1 PG, 2 PG-13, 4 R, 8 X, 16 XXX; 0 is not stated.")
    supports_generation: bool
    civitai_model_id: int | None
    civitai_version_id: int | None
    downloads: int | None
    likes: int | None
    rating: float | None = Field(description="0..5; null while nobody rated.")
    stats: dict[str, Any] = Field(description="The community's statistics as the source states them.")
    licence: dict[str, Any] | None = Field(description="Permissions; null is unknown.")
    extra: dict[str, Any] = Field(description="What the sources say beyond these fields.")
    file_path: str = Field(description="Where the weight file lies, or would lie.")
    file_state: str = Field(description="present, invalid, missing (it was there), or remote (it never was).")
    primary_file_name: str | None
    primary_file_size_kb: float | None
    primary_file_sha256: str | None = Field(description="As stated, else measured; lower case.")
    primary_file_download_url: str | None
    primary_file_local_path: str | None
    preview_url: str | None = Field(description="Signed, expires after one to two hours; null without a local preview.")
    json_file_path: str | None
    json_file_mtime: datetime | None
    json_file_size: int | None
    weight: float
    weight_by_user: bool = Field(description="Whether the weight was set by hand.")
    active: bool
    ordinal: int | None
    favorite: bool
    user_tags: list[str]
    user_notes: str | None
    last_ingested_at: datetime | None
    created_at: datetime
    updated_at: datetime


class AdapterAnswer(BaseModel):
    """One adapter."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"adapter": ADAPTER_EXAMPLE}]})

    adapter: Adapter


class AdapterPage(BaseModel):
    """One page of a list of adapters."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "items": [ADAPTER_EXAMPLE],
                    "total": 1,
                    "limit": 100,
                    "offset": 0,
                    "next_cursor": None,
                    "ranked_among": None,
                    "filtered": 1,
                    "page": 1,
                    "pages": 1,
                    "per_page": 100,
                }
            ]
        }
    )

    items: list[Adapter]
    total: int = Field(description="How many adapters pass the filters, exactly.")
    limit: int
    offset: int = Field(description="How many come before this page.")
    next_cursor: str | None = Field(description="Pass it as `cursor` for the next page; null at the end.")
    ranked_among: int | None = Field(
        description="Set where more adapters match `q` than are ranked by relevance: only so many were."
    )
    filtered: int = Field(description="The same as `total`.")
    page: int = Field(description="From 1.")
    pages: int
    per_page: int = Field(description="The same as `limit`.")


class TagCount(BaseModel):
    """A tag and how many adapters have it."""

    tag: str
    count: int


class TagList(BaseModel):
    """Tags of the library."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"tags": ["style", "dragon"], "counts": [{"tag": "style", "count": 41}, {"tag": "dragon", "count": 7}]}
            ]
        }
    )

    tags: list[str] = Field(description="Case-folded, the most frequent first.")
    counts: list[TagCount]


class FieldSource(BaseModel):
    """Where the value of a field comes from."""

    field: str
    source: str = Field(description="Path of a document, `header` or `file` (the weight file), or `user`.")


class Provenance(BaseModel):
    """Which file gave each field of an adapter, and when."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "id": ADAPTER_ID,
                    "last_ingested_at": "2026-01-01T08:00:00Z",
                    "fields": [
                        {"field": "base_model", "source": "header"},
                        {"field": "name", "source": "/library/style/ink-dragon.civitai.info"},
                    ],
                }
            ]
        }
    )

    id: str
    last_ingested_at: datetime | None
    fields: list[FieldSource]
