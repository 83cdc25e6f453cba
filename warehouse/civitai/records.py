"""Typed records: what one document says, before anything is decided.

A record holds statements, not facts: hashes here are claims. Descriptions are raw, untrusted HTML. Missing is None or
empty. What does not belong here: reading (`readers`), deciding (`merge`), or any default value.
"""

from datetime import datetime
from typing import Any

from msgspec import Struct

from warehouse.civitai.verdicts import ComplaintCode, ReasonCode, Shape, Verdict

JsonObject = dict[str, Any]


class Complaint(Struct, frozen=True):
    """One field that could not be taken as it stands. `path` is a JSON path from the document's root (`$`)."""

    code: ComplaintCode
    path: str
    message: str


class Licence(Struct, frozen=True, kw_only=True):
    """Permissions as stated; None is unknown. `allow_commercial_use` is a subset of Image, RentCivit, Rent, Sell."""

    allow_no_credit: bool | None = None
    allow_commercial_use: tuple[str, ...] | None = None
    allow_derivatives: bool | None = None
    allow_different_license: bool | None = None
    text: str | None = None

    def is_empty(self) -> bool:
        """Whether nothing at all is stated."""
        return self == _NO_LICENCE


_NO_LICENCE = Licence()


class FileClaim(Struct, frozen=True, kw_only=True):
    """A file that a version lists. `size_kb` is in KiB; hashes are lower-case hexadecimal, keyed by lower-case name."""

    name: str | None = None
    size_kb: float | None = None
    hashes: dict[str, str] = {}
    primary: bool = False
    type: str | None = None
    format: str | None = None
    download_url: str | None = None


class Example(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An example image or video. `nsfw_level` is Civitai's bit mask; `resources` are those its prompt named."""

    url: str | None = None
    type: str | None = None
    width: int | None = None
    height: int | None = None
    nsfw_level: int | None = None
    prompt: str | None = None
    negative_prompt: str | None = None
    sampler: str | None = None
    steps: int | None = None
    cfg_scale: float | None = None
    seed: int | None = None
    clip_skip: int | None = None
    resources: tuple[JsonObject, ...] = ()


class ModelFacts(Struct, frozen=True, kw_only=True):
    """What a document says of a model: everything its versions share."""

    civitai_id: int | None = None
    name: str | None = None
    type: str | None = None
    description: str | None = None
    author: str | None = None
    tags: tuple[str, ...] = ()
    nsfw: bool | None = None
    nsfw_level: int | None = None
    availability: str | None = None
    supports_generation: bool | None = None
    licence: Licence = _NO_LICENCE
    stats: JsonObject = {}
    extra: JsonObject = {}


class VersionFacts(Struct, frozen=True, kw_only=True):
    """What a document says of one version."""

    civitai_id: int | None = None
    name: str | None = None
    description: str | None = None
    base_model: str | None = None
    trained_words: tuple[str, ...] = ()
    files: tuple[FileClaim, ...] = ()
    examples: tuple[Example, ...] = ()
    download_url: str | None = None
    published_at: datetime | None = None
    nsfw_level: int | None = None
    availability: str | None = None
    supports_generation: bool | None = None
    stats: JsonObject = {}
    extra: JsonObject = {}


class UserFacts(Struct, frozen=True, kw_only=True):
    """What a person keeps in a sidecar about the weight beside it."""

    title: str | None = None
    description: str | None = None
    activation_text: str | None = None
    negative_text: str | None = None
    notes: str | None = None
    preferred_weight: float | None = None
    sd_version: str | None = None
    tags: tuple[str, ...] = ()
    favorite: bool | None = None

    def is_empty(self) -> bool:
        """Whether nothing at all is kept."""
        return self == _NO_USER_FACTS


_NO_USER_FACTS = UserFacts()


class Record(Struct, frozen=True, kw_only=True):
    """What one document says of one adapter version, or of the weight beside it when it names no version.

    `payload_sha256` is a claim about the bytes after the header; claims about whole files are in `version.files`.
    """

    shape: Shape
    model: ModelFacts = ModelFacts()
    version: VersionFacts | None = None
    user: UserFacts = _NO_USER_FACTS
    payload_sha256: str | None = None
    extra: JsonObject = {}

    @property
    def model_id(self) -> int | None:
        """Civitai's number of the model, where stated."""
        return self.model.civitai_id

    @property
    def version_id(self) -> int | None:
        """Civitai's number of the version, where stated."""
        return self.version.civitai_id if self.version is not None else None


class Reading(Struct, frozen=True, kw_only=True):
    """The outcome of reading one document. `reason_code` and `reason` are set unless the verdict is accepted."""

    shape: Shape
    verdict: Verdict
    reason_code: ReasonCode | None = None
    reason: str | None = None
    records: tuple[Record, ...] = ()
    complaints: tuple[Complaint, ...] = ()
