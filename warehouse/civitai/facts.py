"""What the merge is given about one bundle, and what it gives back.

Facts are measured (paths, sizes, hashes of bytes) or read (`Reading`); drafts are everything derived from them. What
does not belong here: how one becomes the other (`resolution`, `merge`), and user state, which no draft carries.
"""

from datetime import datetime
from pathlib import PurePath

from msgspec import Struct

from warehouse.civitai.records import Example, JsonObject, Reading
from warehouse.civitai.strengths import Identity, Strengths
from warehouse.civitai.verdicts import FileState, FindingCode, Severity
from warehouse.safetensors import HeaderFacts


class WeightFacts(Struct, frozen=True, kw_only=True):
    """A weight file as measured. `size` in bytes; hashes in lower-case hexadecimal, None until they are computed.

    `problem` is the typed reason why the file is no valid weight file.
    """

    path: str
    size: int
    header: HeaderFacts | None = None
    sha256: str | None = None
    payload_sha256: str | None = None
    blake3: str | None = None
    autov2: str | None = None
    autov3: str | None = None
    crc32: str | None = None
    problem: str | None = None

    @property
    def file_name(self) -> str:
        """The last part of the path."""
        return PurePath(self.path).name


class Source(Struct, frozen=True, kw_only=True):
    """A document of the bundle with what reading it gave. `size` in bytes."""

    path: str
    mtime_ns: int
    size: int
    reading: Reading


class BundleFacts(Struct, frozen=True, kw_only=True):
    """What shares one stem in one folder: at most one weight file, and the documents about it."""

    directory: str
    stem: str
    weight: WeightFacts | None = None
    sources: tuple[Source, ...] | list[Source] = ()


class Finding(Struct, frozen=True, kw_only=True):
    """Something worth knowing about a bundle. `path` is the file it is about."""

    code: FindingCode
    severity: Severity
    path: str | None
    message: str
    data: JsonObject = {}


class AdapterDraft(Struct, frozen=True, kw_only=True):
    """Every derived column of one adapter version.

    `provenance` maps a field to the path of the document it was taken from, to "header" or to "file"; a field that is
    missing there was stated by nobody. `weight` is a preferred strength, None where nobody keeps one; `strengths` are
    those that its example images state, who know it by its `identity` (None without such images). `content_digest`
    covers what vectors derive from, so that new statistics alone compute nothing anew.
    """

    source_key: str
    name: str
    version: str | None
    canonical_version_name: str | None
    description: str | None
    description_text: str | None
    author_username: str | None
    visibility: str
    published_at: datetime | None
    tags: list[str]
    trained_words: list[str]
    triggers: list[str]
    activation_text: str | None
    negative_text: str | None
    notes: str | None
    weight: float | None
    favorite: bool | None
    file_path: str
    file_state: FileState
    base_model: str | None
    sd_version: str | None
    primary_file_name: str | None
    primary_file_size_kb: float | None
    primary_file_sha256: str | None
    primary_file_download_url: str | None
    primary_file_local_path: str | None
    supports_generation: bool
    nsfw_level: int
    nsfw: bool | None
    civitai_model_id: int | None
    civitai_version_id: int | None
    downloads: int | None
    likes: int | None
    rating: float | None
    stats: JsonObject
    licence: JsonObject | None
    extra: JsonObject
    json_file_path: str | None
    json_file_mtime: datetime | None
    json_file_size: int | None
    examples: list[Example]
    identity: Identity | None
    provenance: dict[str, str]
    archetype: str | None = None
    archetype_confidence: float | None = None
    strengths: Strengths | None = None
    content_digest: str = ""


class Merged(Struct, frozen=True, kw_only=True):
    """The adapters of a bundle, the one of its weight file first, and what is worth knowing about it."""

    drafts: list[AdapterDraft]
    findings: list[Finding]
