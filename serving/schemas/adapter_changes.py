"""What clients send to change adapters: the form of every field that can be set.

Belongs here: lengths, ranges and forms, so that whatever passes can be stored on either database and shown again. Does
not: answers (`schemas.adapters`), rules that need the disk or the database (`warehouse.catalog`).
"""

import math
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Self

import msgspec
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from serving.schemas.adapters import ADAPTER_ID
from warehouse.catalog.fields import RESETTABLE
from warehouse.catalog.many import MAX_USER_TAGS, Action, Result
from warehouse.civitai import names
from warehouse.civitai.markup import MAX_HTML_CHARACTERS
from warehouse.fulltext import fold

MAX_BULK: Final = 1_000
MAX_JSON_BYTES: Final = 256 * 1024
MAX_JSON_DEPTH: Final = 16
MAX_JSON_VALUES: Final = 20_000
_MAX_PATH: Final = 4_096
_MAX_TEXT: Final = 20_000
_INT32: Final = 2**31
_INT64: Final = 2**63
_RFC3339: Final = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:")
_BREAKS: Final = frozenset("\n\r\t")


def _storable(text: str) -> str:
    """Text that both databases can hold.

    Raises:
        PydanticCustomError: it has a NUL, which PostgreSQL refuses, or half a surrogate pair, which is no text.
    """
    if "\x00" in text:
        raise PydanticCustomError("nul_character", "must not hold the character NUL")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise PydanticCustomError("string_unicode", "must not hold half a surrogate pair") from None
    return text


def _one_line(text: str) -> str:
    cleaned = text.strip(" ")
    if names.strip_invisible(_storable(cleaned)).strip() != cleaned or not _BREAKS.isdisjoint(cleaned):
        raise PydanticCustomError("control_character", "must not hold line breaks, control or invisible characters")
    return cleaned


def _named(text: str) -> str:
    # Spaces around it are a slip of the hand; any other blank would be a surprise.
    cleaned = _storable(text).strip(" ")
    if not cleaned.strip():
        raise PydanticCustomError("blank", "must not be blank")
    if names.clean_name(cleaned) != cleaned:
        raise PydanticCustomError(
            "breaks_token",
            "must not hold <, >, :, control or invisible characters: it stands in <lora:name:weight>",
        )
    return cleaned


def _word(text: str) -> str:
    cleaned = _one_line(text)
    if not cleaned:
        raise PydanticCustomError("blank", "must not be blank")
    return cleaned


def _blank_as_none(value: Any) -> Any:
    return None if isinstance(value, str) and not value.strip() else value


def _moment(value: Any) -> Any:
    if value is not None and not (isinstance(value, str) and _RFC3339.match(value)):
        raise PydanticCustomError("not_rfc3339", "must be a time in RFC 3339, like 2025-03-02T09:30:00Z")
    return value


def _in_calendar(value: datetime) -> datetime:
    if value.tzinfo is None:
        raise PydanticCustomError("no_zone", "must have a zone: end it in Z or an offset")
    if not 1900 <= value.year < 2200:
        raise PydanticCustomError("out_of_range", "must be from the years 1900 to 2199")
    return value.astimezone(UTC)


def _address(text: str) -> str:
    cleaned = _one_line(text)
    if not cleaned.lower().startswith(("https://", "http://")):
        raise PydanticCustomError("not_http", "must begin with https:// or http://")
    return cleaned


def _distinct(tags: list[str]) -> list[str]:
    """Tags without those that compare equal to an earlier one."""
    return list({fold(tag): tag for tag in reversed(tags)}.values())[::-1]


def _storable_json(value: dict[str, Any]) -> dict[str, Any]:
    """An object whose depth, size, texts and numbers both databases and every client can take."""
    pending: list[tuple[Any, int]] = [(value, 1)]
    seen = 0
    while pending:
        item, depth = pending.pop()
        seen += 1
        if depth > MAX_JSON_DEPTH:
            raise PydanticCustomError("too_deep", f"must not be nested deeper than {MAX_JSON_DEPTH} levels")
        if seen > MAX_JSON_VALUES:
            raise PydanticCustomError("too_large", f"must not hold more than {MAX_JSON_VALUES} values")
        if isinstance(item, dict):
            _check_texts(item)
            pending.extend((child, depth + 1) for child in item.values())
        elif isinstance(item, list):
            pending.extend((child, depth + 1) for child in item)
        elif isinstance(item, str):
            _check_texts((item,))
        elif isinstance(item, float):
            if not math.isfinite(item):
                raise PydanticCustomError("finite_number", "must hold finite numbers only")
            if abs(item) >= _INT64:
                # PostgreSQL spells them out as integers, which many a client cannot read.
                raise PydanticCustomError("too_large", "must not hold numbers beyond 64 bits")
        elif isinstance(item, int) and not -_INT64 <= item < _INT64:
            raise PydanticCustomError("too_large", "must not hold numbers beyond 64 bits")
    if len(msgspec.json.encode(value)) > MAX_JSON_BYTES:
        raise PydanticCustomError("too_large", f"must not be larger than {MAX_JSON_BYTES // 1024} KiB")
    return value


def _check_texts(texts: Iterable[str]) -> None:
    for text in texts:
        _storable(text)


_Storable = AfterValidator(_storable)
_OneLine = AfterValidator(_one_line)
_Word = AfterValidator(_word)

Name = Annotated[str, Field(strict=True, max_length=names.MAX_NAME), AfterValidator(_named)]
Version = Annotated[str, Field(strict=True, max_length=names.MAX_VERSION), _OneLine]
Tag = Annotated[str, Field(strict=True, max_length=names.MAX_TAG), _Word]
Group = Annotated[str, Field(strict=True, min_length=1, max_length=names.MAX_GROUP), _Storable]
Text = Annotated[str, Field(strict=True, max_length=_MAX_TEXT), _Storable]
Path = Annotated[str, Field(strict=True, min_length=1, max_length=_MAX_PATH), _Storable]
Ordinal = Annotated[int, Field(strict=True, ge=-_INT32, lt=_INT32)]
Count = Annotated[int, Field(strict=True, ge=0, lt=_INT64)]
Flag = Annotated[bool, Field(strict=True)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
Moment = Annotated[datetime, BeforeValidator(_moment), AfterValidator(_in_calendar)]
Address = Annotated[str, Field(strict=True, max_length=2_048), AfterValidator(_address)]
Sha256 = Annotated[str, Field(strict=True, pattern=r"^[0-9A-Fa-f]{64}$"), AfterValidator(str.lower)]
Object = Annotated[dict[str, Any], AfterValidator(_storable_json)]
UserTags = Annotated[list[Tag], Field(strict=True, max_length=MAX_USER_TAGS), AfterValidator(_distinct)]


def _unset() -> Any:
    """The default of a field that may be left out and may not be null; it is never read."""
    return None


class _Fields(BaseModel):
    """Every field of an adapter that can be set. What is not sent is not touched; null clears where it is allowed."""

    model_config = ConfigDict(extra="forbid")

    version: Annotated[Version | None, BeforeValidator(_blank_as_none)] = None
    canonical_version_name: Annotated[Version | None, BeforeValidator(_blank_as_none)] = None
    description: Annotated[str, Field(strict=True, max_length=MAX_HTML_CHARACTERS), _Storable] | None = Field(
        None, description="HTML; sanitised before it is stored."
    )
    author_username: Annotated[str, Field(strict=True, max_length=200), _Word] | None = None
    visibility: Annotated[str, Field(strict=True, max_length=32), _Word] = Field(default_factory=_unset)
    published_at: Moment | None = None
    tags: Annotated[list[Tag], Field(strict=True, max_length=500), AfterValidator(_distinct)] = Field(
        default_factory=_unset, description="In place of those that documents state; see also `user_tags`."
    )
    trained_words: Annotated[list[Group], Field(strict=True, max_length=names.MAX_GROUPS)] = Field(
        default_factory=_unset
    )
    triggers: Annotated[list[Group], Field(strict=True, max_length=1_000)] = Field(
        default_factory=_unset, description="Default: `trained_words`, split and cleaned."
    )
    activation_text: Text | None = None
    negative_text: Text | None = None
    archetype: Annotated[str, Field(strict=True, max_length=32), _Word] | None = None
    archetype_confidence: Annotated[Number, Field(ge=0, le=1)] | None = None
    base_model: Annotated[str, Field(strict=True, max_length=64), _Word] | None = Field(
        None, description="As Civitai spells it."
    )
    sd_version: Annotated[str, Field(strict=True, max_length=32), _Word] | None = None
    nsfw_level: Annotated[int, Field(strict=True, ge=0, lt=_INT32)] = Field(default_factory=_unset)
    supports_generation: Flag = Field(default_factory=_unset)
    downloads: Count | None = None
    likes: Count | None = None
    rating: Annotated[Number, Field(ge=0, le=5)] | None = None
    stats: Object = Field(default_factory=_unset)
    licence: Object | None = None
    extra: Object = Field(default_factory=_unset)
    primary_file_name: Annotated[str, Field(strict=True, max_length=255), _Word] | None = None
    primary_file_size_kb: Annotated[Number, Field(ge=0, le=1e12)] | None = None
    primary_file_sha256: Sha256 | None = Field(None, description="64 hexadecimal digits, as stated.")
    primary_file_download_url: Address | None = None
    primary_file_local_path: Path | None = None
    weight: Annotated[Number, Field(ge=-1_000, le=1_000)] = Field(default_factory=_unset)
    active: Flag = Field(default_factory=_unset)
    ordinal: Ordinal | None = Field(None, description="Place among the active adapters.")
    favorite: Flag = Field(default_factory=_unset)
    user_tags: UserTags = Field(default_factory=_unset, description="The user's own tags, beside those of documents.")
    user_notes: Text | None = None

    def sent(self) -> dict[str, Any]:
        """The fields that the client sent, nulls included."""
        return self.model_dump(include=self.model_fields_set)


class AdapterCreate(_Fields):
    """A new adapter for a weight file that is there."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "Ink Dragon",
                    "version": "v1.0",
                    "file_path": "/library/style/ink-dragon.safetensors",
                    "trained_words": ["inkdragon, flowing ink"],
                    "base_model": "SDXL 1.0",
                    "weight": 0.8,
                }
            ]
        }
    )

    name: Name = Field(description="Unique with the version; without <, >, : and control characters.")
    file_path: Path = Field(description="Absolute path of a weight file under a library folder.")


class AdapterUpdate(_Fields):
    """Changes of an adapter: the fields that are sent, and no others."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"weight": 0.75, "user_tags": ["for portraits"], "description": "<p>Ink.</p>"},
                {"reset": ["description"]},
            ]
        }
    )

    name: Name = Field(default_factory=_unset)
    file_path: Path = Field(default_factory=_unset, description="As for a new adapter.")
    reset: Annotated[list[str], Field(strict=True, max_length=100)] = Field(
        [],
        description="Fields to give back: they are again what the documents and the file say. One of "
        + ", ".join(sorted(RESETTABLE))
        + ".",
    )

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        for name in self.reset:
            if name not in RESETTABLE:
                raise PydanticCustomError(
                    "not_resettable",
                    "reset: {name} is none of the fields that can be reset",
                    {"name": ascii(name)[:60]},
                )
            if name in self.model_fields_set:
                raise PydanticCustomError(
                    "set_and_reset", "reset: {name} cannot be set and reset at once", {"name": name}
                )
        return self

    def sent(self) -> dict[str, Any]:
        """The fields that the client sent, nulls included, without `reset`."""
        return self.model_dump(include=self.model_fields_set - {"reset"})


class Activation(BaseModel):
    """How to activate an adapter."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"ordinal": 2}]})

    ordinal: Ordinal | None = Field(None, description="Place among the active adapters; none: the earlier one stays.")


class Deactivation(BaseModel):
    """Nothing needs to be said."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{}]})


class BulkChange(BaseModel):
    """One action for many adapters."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"action": "activate", "lora_ids": [ADAPTER_ID], "ordinal": 1},
                {"action": "tag", "lora_ids": [ADAPTER_ID], "tags": ["for portraits"]},
            ]
        },
    )

    action: Action
    lora_ids: Annotated[
        list[Annotated[str, Field(strict=True, max_length=200), _Storable]],
        Field(strict=True, min_length=1, max_length=MAX_BULK),
    ]
    tags: UserTags | None = Field(None, description="With `tag` and `untag`: the user's tags to add or remove.")
    ordinal: Ordinal | None = Field(None, description="With `activate`: the ordinal that all of them get.")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.action in (Action.TAG, Action.UNTAG):
            if not self.tags:
                raise PydanticCustomError("tags_missing", "tags: say which tags")
        elif self.tags:
            raise PydanticCustomError("tags_unused", "tags: are for the actions tag and untag alone")
        if self.ordinal is not None and self.action is not Action.ACTIVATE:
            raise PydanticCustomError("ordinal_unused", "ordinal: is for the action activate alone")
        return self


class BulkResult(BaseModel):
    """What became of one id."""

    lora_id: str = Field(description="As it was sent.")
    status: Result = Field(
        description="`changed`; `unchanged` (it was so already); `not_found`; `refused` (it would have more than "
        f"{MAX_USER_TAGS} tags of the user's)."
    )


class BulkAnswer(BaseModel):
    """A result for each id, in the order sent, and how many there are of each."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "action": "activate",
                    "results": [{"lora_id": ADAPTER_ID, "status": "changed"}],
                    "changed": 1,
                    "unchanged": 0,
                    "not_found": 0,
                    "refused": 0,
                }
            ]
        }
    )

    action: Action
    results: list[BulkResult]
    changed: int
    unchanged: int
    not_found: int
    refused: int
