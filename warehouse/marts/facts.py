"""The facts: what the tables hold, in columns that an analyst can use without knowing the tables.

Belongs here: one declaration per fact. Does not: totals and rankings (`aggregates`), raw documents, vectors.
A new fact is one more entry of `FACTS`: its files, its view, its comments and its documentation follow from it.
"""

from typing import Any, Final

from sqlalchemy import ColumnElement, Text, and_, cast, func

from warehouse.marts.declaration import Column, ColumnType, Fact
from warehouse.marts.expressions import JsonBoolean, JsonInteger, nsfw_rating
from warehouse.models import (
    Adapter,
    AdapterTag,
    AdapterUse,
    Bundle,
    CommunityStatistic,
    Document,
    Duplicate,
    Embedding,
    File,
    Finding,
    GeneratedImage,
    Generation,
    Inspection,
    Pointer,
    Root,
)

_TEXT, _TEXTS, _INTEGER, _REAL = ColumnType.TEXT, ColumnType.TEXTS, ColumnType.INTEGER, ColumnType.REAL
_BOOLEAN, _MOMENT, _DAY = ColumnType.BOOLEAN, ColumnType.MOMENT, ColumnType.DAY


def _table(model: Any) -> Any:
    return model.__table__


def _moment_of(nanoseconds: Any) -> ColumnElement[int]:
    """Microseconds since 1970, as Arrow counts moments."""
    microseconds: ColumnElement[int] = nanoseconds // 1000
    return microseconds


def _both(*conditions: Any) -> ColumnElement[bool]:
    """Whether all conditions hold; false where one is unknown."""
    return func.coalesce(and_(*conditions), False)


_NAMED_FILE = _table(Adapter).outerjoin(_table(File), Adapter.file_pk == File.pk)

ADAPTERS: Final = Fact(
    name="adapters",
    description="LoRA adapters of the library with what documents say and what their weight files measure.",
    grain="adapter version",
    origin=_NAMED_FILE.outerjoin(_table(Inspection), Inspection.file_pk == File.pk),
    order_by=(Adapter.pk,),
    columns=(
        Column("adapter_id", _TEXT, "Public id (UUID), as the API gives it", Adapter.id),
        Column("name", _TEXT, "Name of the adapter", Adapter.name),
        Column("version", _TEXT, "Version within the name; NULL where there is one without a name", Adapter.version),
        Column("version_name", _TEXT, "Name of the version, cleaned", Adapter.canonical_version_name),
        Column("author", _TEXT, "Civitai user who published it", Adapter.author_username),
        Column("base_model", _TEXT, "Base model, as Civitai spells it", Adapter.base_model),
        Column("sd_version", _TEXT, "Family of the base model: SD1, SD2, SDXL, SD3 or Other", Adapter.sd_version),
        Column("archetype", _TEXT, "What it is for: character, style, concept, clothing, …", Adapter.archetype),
        Column(
            "archetype_confidence", _REAL, "Calibrated probability of the archetype, 0..1", Adapter.archetype_confidence
        ),
        Column("visibility", _TEXT, "Availability on Civitai: Public, EarlyAccess, …", Adapter.visibility),
        Column("nsfw_level", _INTEGER, "Civitai's bit mask of content levels; 0 is not stated", Adapter.nsfw_level),
        Column(
            "nsfw_rating",
            _TEXT,
            "Highest level in the mask: PG, PG-13, R, X, XXX or Blocked; NULL is not stated",
            nsfw_rating(Adapter.nsfw_level),
        ),
        Column("tags", _TEXTS, "Tags as the documents spell them", Adapter.tags),
        Column("trained_words", _TEXTS, "Trained words as the documents give them", Adapter.trained_words),
        Column("triggers", _TEXTS, "Trigger groups, split and cleaned", Adapter.triggers),
        Column("activation_text", _TEXT, "Text that activates it in a prompt", Adapter.activation_text),
        Column("negative_text", _TEXT, "Text for the negative prompt", Adapter.negative_text),
        Column("has_description", _BOOLEAN, "Whether a description is known", Adapter.description.is_not(None)),
        Column(
            "has_preview", _BOOLEAN, "Whether a preview image lies beside the file", Adapter.preview_path.is_not(None)
        ),
        Column(
            "supports_generation", _BOOLEAN, "Whether Civitai's own generator offers it", Adapter.supports_generation
        ),
        Column("downloads", _INTEGER, "Downloads on Civitai at the last sync of its document", Adapter.downloads),
        Column("likes", _INTEGER, "Thumbs up on Civitai at the last sync of its document", Adapter.likes),
        Column("rating", _REAL, "Mean rating on Civitai, 0..5; NULL while nobody rated", Adapter.rating),
        Column(
            "comments",
            _INTEGER,
            "Comments on Civitai at the last sync of its document",
            JsonInteger(Adapter.stats, "commentCount"),
        ),
        Column("stats", _TEXT, "All numbers of Civitai as JSON, under Civitai's names", cast(Adapter.stats, Text)),
        Column(
            "allow_no_credit",
            _BOOLEAN,
            "Licence: may be used without credit; NULL is unknown",
            JsonBoolean(Adapter.licence, "allow_no_credit"),
        ),
        Column(
            "allow_commercial_use",
            _TEXTS,
            "Licence: commercial uses that are allowed; NULL is unknown",
            Adapter.licence["allow_commercial_use"],
        ),
        Column(
            "allow_derivatives",
            _BOOLEAN,
            "Licence: derivatives are allowed; NULL is unknown",
            JsonBoolean(Adapter.licence, "allow_derivatives"),
        ),
        Column(
            "allow_different_license",
            _BOOLEAN,
            "Licence: derivatives may change the licence; NULL is unknown",
            JsonBoolean(Adapter.licence, "allow_different_license"),
        ),
        Column("civitai_model_id", _INTEGER, "Number of the model on Civitai", Adapter.civitai_model_id),
        Column("civitai_version_id", _INTEGER, "Number of the version on Civitai", Adapter.civitai_version_id),
        Column("published_at", _MOMENT, "When the version was published (UTC)", Adapter.published_at),
        Column("file_path", _TEXT, "Path of the weight file; for remote ones where it would lie", Adapter.file_path),
        Column(
            "file_state", _TEXT, "State of the weight file: present, invalid, missing or remote", Adapter.file_state
        ),
        Column("file_bytes", _INTEGER, "Measured size of the weight file in bytes; NULL without one", File.size),
        Column(
            "sha256", _TEXT, "Measured SHA-256 of the weight file, lower case; NULL until it is hashed", File.sha256
        ),
        Column(
            "stated_file_name", _TEXT, "Name of the weight file as the document states it", Adapter.primary_file_name
        ),
        Column(
            "stated_size_kb",
            _REAL,
            "Size in KiB as the document states it, else measured",
            Adapter.primary_file_size_kb,
        ),
        Column("stated_sha256", _TEXT, "SHA-256 as the document states it, else measured", Adapter.primary_file_sha256),
        Column(
            "valid",
            _BOOLEAN,
            "Whether the weight file is sound; NULL while it is not inspected or never opened",
            Inspection.valid,
        ),
        Column("problem", _TEXT, "Typed reason why the weight file is not sound", Inspection.problem),
        Column(
            "network_type",
            _TEXT,
            "Kind of network the tensors form: lora, locon, loha, lokr, …",
            Inspection.network_type,
        ),
        Column("rank", _INTEGER, "Typical rank of the network, measured", Inspection.rank),
        Column("alpha", _REAL, "Typical alpha of the network, measured", Inspection.alpha),
        Column("detected_base_model", _TEXT, "Base model that the tensors point to", Inspection.base_model),
        Column("weight", _REAL, "Strength at which the user applies it", Adapter.weight),
        Column("active", _BOOLEAN, "Whether the user has it active", Adapter.active),
        Column("ordinal", _INTEGER, "Its place among the active ones", Adapter.ordinal),
        Column("favorite", _BOOLEAN, "Whether the user marked it as a favourite", Adapter.favorite),
        Column("user_tags", _TEXTS, "The user's own tags", Adapter.user_tags),
        Column(
            "document_path",
            _TEXT,
            "The document that describes it; NULL where the header alone does",
            Adapter.json_file_path,
        ),
        Column("created_at", _MOMENT, "When the library first had it (UTC)", Adapter.created_at),
        Column("updated_at", _MOMENT, "When it last changed (UTC)", Adapter.updated_at),
        Column("last_ingested_at", _MOMENT, "When a sync last derived it (UTC)", Adapter.last_ingested_at),
    ),
)

ADAPTER_TAGS: Final = Fact(
    name="adapter_tags",
    description="Tags of adapters, folded so that spellings of one tag meet.",
    grain="adapter and tag",
    origin=_table(AdapterTag).join(_table(Adapter), Adapter.pk == AdapterTag.adapter_pk),
    order_by=(AdapterTag.adapter_pk, AdapterTag.tag),
    columns=(
        Column("adapter_id", _TEXT, "The adapter", Adapter.id),
        Column("tag", _TEXT, "The tag, case-folded and in Unicode form NFKC", AdapterTag.tag),
    ),
)

FILES: Final = Fact(
    name="files",
    description="Weight files that lie, or once lay, in the library folders, with their measured hashes.",
    grain="path of a weight file",
    origin=_table(File).join(_table(Bundle), Bundle.pk == File.bundle_pk).join(_table(Root), Root.pk == Bundle.root_pk),
    order_by=(File.pk,),
    columns=(
        Column("file_key", _INTEGER, "Internal number of the file, which `inspections` names", File.pk),
        Column("path", _TEXT, "Absolute path", File.path),
        Column("root", _TEXT, "Library folder it was found under", Root.path),
        Column("directory", _TEXT, "Folder it lies in", Bundle.directory),
        Column("stem", _TEXT, "File name that its sidecars share, without suffix", Bundle.stem),
        Column("file_bytes", _INTEGER, "Size in bytes", File.size),
        Column("modified_at", _MOMENT, "Modification time of the file (UTC)", _moment_of(File.mtime_ns)),
        Column("state", _TEXT, "present, missing or unreadable", File.state),
        Column("first_seen_at", _MOMENT, "When a scan first found it (UTC)", File.first_seen_at),
        Column("missing_since", _MOMENT, "Since when scans have not found it (UTC)", File.missing_since),
        Column(
            "hashes_current",
            _BOOLEAN,
            "Whether the hashes are of the bytes that lie there now",
            _both(File.hashed_size == File.size, File.hashed_mtime_ns == File.mtime_ns),
        ),
        Column("sha256", _TEXT, "SHA-256 of the file, lower case", File.sha256),
        Column("payload_sha256", _TEXT, "SHA-256 of the weights after the header", File.payload_sha256),
        Column("blake3", _TEXT, "BLAKE3 of the file", File.blake3),
        Column("crc32", _TEXT, "CRC-32 of the file", File.crc32),
        Column("autov1", _TEXT, "AutoV1 hash of WebUI", File.autov1),
        Column("autov2", _TEXT, "AutoV2 hash: the first 10 digits of the SHA-256", func.substr(File.sha256, 1, 10)),
        Column(
            "autov3",
            _TEXT,
            "AutoV3 hash: the first 12 digits of the weights' SHA-256",
            func.substr(File.payload_sha256, 1, 12),
        ),
    ),
)

INSPECTIONS: Final = Fact(
    name="inspections",
    description="What reading the weight files themselves told: soundness, network, base model.",
    grain="inspected weight file",
    origin=_table(Inspection).join(_table(File), File.pk == Inspection.file_pk),
    order_by=(Inspection.file_pk,),
    columns=(
        Column("file_key", _INTEGER, "Internal number of the file, as in `files`", Inspection.file_pk),
        Column("path", _TEXT, "Absolute path of the file", File.path),
        Column("file_bytes", _INTEGER, "Size in bytes when it was inspected", Inspection.size),
        Column(
            "valid", _BOOLEAN, "Whether it is sound; NULL for a format that is never opened (pickle)", Inspection.valid
        ),
        Column("problem", _TEXT, "Typed reason why it is not sound", Inspection.problem),
        Column("message", _TEXT, "The reason in words, with the remedy", Inspection.message),
        Column("network_type", _TEXT, "Kind of network: lora, locon, loha, lokr, …", Inspection.network_type),
        Column("rank", _INTEGER, "Typical rank", Inspection.rank),
        Column("alpha", _REAL, "Typical alpha", Inspection.alpha),
        Column("base_model", _TEXT, "Base model that names and shapes of tensors point to", Inspection.base_model),
        Column("base_model_confidence", _REAL, "How sure that is, 0..1", Inspection.base_model_confidence),
        Column("base_model_evidence", _TEXT, "What it was told from", Inspection.base_model_evidence),
        Column("tensor_count", _INTEGER, "Number of tensors", Inspection.tensor_count),
        Column("parameter_count", _INTEGER, "Number of parameters", Inspection.parameter_count),
        Column(
            "is_current",
            _BOOLEAN,
            "Whether the file is still as it was inspected",
            _both(Inspection.size == File.size, Inspection.mtime_ns == File.mtime_ns),
        ),
        Column("inspected_at", _MOMENT, "When it was inspected (UTC)", Inspection.inspected_at),
    ),
)

DOCUMENTS: Final = Fact(
    name="documents",
    description="Metadata documents of the library and what became of them.",
    grain="path of a document",
    origin=_table(Document).join(_table(Bundle), Bundle.pk == Document.bundle_pk),
    order_by=(Document.pk,),
    columns=(
        Column("path", _TEXT, "Absolute path", Document.path),
        Column("directory", _TEXT, "Folder it lies in", Bundle.directory),
        Column("document_bytes", _INTEGER, "Size in bytes", Document.size),
        Column("modified_at", _MOMENT, "Modification time of the file (UTC)", _moment_of(Document.mtime_ns)),
        Column("state", _TEXT, "present, missing or unreadable", Document.state),
        Column("missing_since", _MOMENT, "Since when scans have not found it (UTC)", Document.missing_since),
        Column("shape", _TEXT, "What kind of document it turned out to be", Document.shape),
        Column(
            "verdict", _TEXT, "accepted, not_found, left_out or quarantined; NULL until it is read", Document.verdict
        ),
        Column("reason_code", _TEXT, "Typed reason of a verdict other than accepted", Document.reason_code),
        Column("reason", _TEXT, "The reason in words, with the remedy", Document.reason),
        Column("complaints", _INTEGER, "Number of fields that could not be taken as they stand", Document.complaints),
        Column("digest", _TEXT, "BLAKE3 of the bytes that were read", Document.digest),
        Column("read_at", _MOMENT, "When it was read (UTC)", Document.read_at),
    ),
)

FINDINGS: Final = Fact(
    name="findings",
    description="What is wrong or worth knowing in the library: disagreements, ambiguities, clashes.",
    grain="finding",
    origin=_table(Finding).outerjoin(_table(Bundle), Bundle.pk == Finding.bundle_pk),
    order_by=(Finding.pk,),
    columns=(
        Column("code", _TEXT, "Typed kind of the finding", Finding.code),
        Column("severity", _TEXT, "info, warning or error", Finding.severity),
        Column("origin", _TEXT, "Stage that found it: scan, documents or adapters", Finding.origin),
        Column("path", _TEXT, "The file it is about", Finding.path),
        Column("directory", _TEXT, "Folder of the group of files it is about", Bundle.directory),
        Column("stem", _TEXT, "Name that the group of files shares", Bundle.stem),
        Column("message", _TEXT, "What, where, and what to do", Finding.message),
        Column("data", _TEXT, "Details as JSON", cast(Finding.data, Text)),
        Column("found_at", _MOMENT, "When it was found (UTC)", Finding.found_at),
    ),
)

DUPLICATES: Final = Fact(
    name="duplicates",
    description="Members of groups of duplicates: same file, same weights, same version, name clash, near.",
    grain="duplicate group and member",
    origin=_table(Duplicate)
    .join(_table(Adapter), Adapter.pk == Duplicate.adapter_pk)
    .outerjoin(_table(File), File.pk == Adapter.file_pk),
    order_by=(Duplicate.pk,),
    columns=(
        Column("kind", _TEXT, "same_file, same_weights, same_version, name_clash or near", Duplicate.kind),
        Column("group_key", _TEXT, "What the members share", Duplicate.group_key),
        Column("adapter_id", _TEXT, "The member", Adapter.id),
        Column("score", _REAL, "Similarity of a near duplicate, 0..1", Duplicate.score),
        Column("file_path", _TEXT, "Path of the member's weight file", Adapter.file_path),
        Column("file_bytes", _INTEGER, "Measured size of the member's file in bytes; NULL without one", File.size),
    ),
)

COMMUNITY_STATISTICS: Final = Fact(
    name="community_statistics",
    description="Civitai's numbers over time: a row on every day on which the numbers of an adapter had changed.",
    grain="adapter and day on which its numbers changed",
    origin=_table(CommunityStatistic).join(_table(Adapter), Adapter.pk == CommunityStatistic.adapter_pk),
    order_by=(CommunityStatistic.adapter_pk,),
    partition_by="day",
    columns=(
        Column("day", _DAY, "Day of the snapshot (UTC)", CommunityStatistic.day),
        Column("adapter_id", _TEXT, "The adapter", Adapter.id),
        Column("downloads", _INTEGER, "Downloads so far", CommunityStatistic.downloads),
        Column("likes", _INTEGER, "Thumbs up so far", CommunityStatistic.likes),
        Column("rating", _REAL, "Mean rating, 0..5; NULL while nobody rated", CommunityStatistic.rating),
        Column("comments", _INTEGER, "Comments so far", CommunityStatistic.comments),
    ),
)

EMBEDDINGS: Final = Fact(
    name="embeddings",
    description="Which adapters have a vector in which space, and whether it is up to date. The vectors stay outside.",
    grain="adapter and embedding space",
    origin=_table(Embedding).join(_table(Adapter), Adapter.pk == Embedding.adapter_pk),
    order_by=(Embedding.pk,),
    columns=(
        Column("adapter_id", _TEXT, "The adapter", Adapter.id),
        Column("space", _TEXT, "semantic, artistic or technical", Embedding.embedding_type),
        Column("model_name", _TEXT, "Model that computed it", Embedding.model_name),
        Column("model_version", _TEXT, "Digest of the model's weights, backend and precision", Embedding.model_version),
        Column("dimension", _INTEGER, "Number of components", Embedding.dimension),
        Column("quality_score", _REAL, "How much is known of the adapter, 0..1", Embedding.quality_score),
        Column(
            "is_current",
            _BOOLEAN,
            "Whether the adapter is still as it was embedded",
            Embedding.content_digest == Adapter.content_digest,
        ),
        Column("created_at", _MOMENT, "When it was first computed (UTC)", Embedding.created_at),
        Column("updated_at", _MOMENT, "When it was last computed (UTC)", Embedding.updated_at),
    ),
)

GENERATIONS: Final = Fact(
    name="generations",
    description="Published generations of the index and the marts, before the one that this table is part of.",
    grain="published generation",
    origin=_table(Generation).outerjoin(_table(Pointer), Pointer.generation_pk == Generation.pk),
    order_by=(Generation.pk,),
    columns=(
        Column("kind", _TEXT, "indices/recommend, marts/analytics, …", Generation.kind),
        Column("name", _TEXT, "Folder below the kind", Generation.name),
        Column("is_current", _BOOLEAN, "Whether it was the one in use at the export", Pointer.kind.is_not(None)),
        Column("created_at", _MOMENT, "When it was published (UTC)", Generation.created_at),
        Column(
            "collected_at",
            _MOMENT,
            "When its files were removed (UTC); NULL while they are kept",
            Generation.collected_at,
        ),
        Column("manifest", _TEXT, "What its builder said of it, as JSON", cast(Generation.manifest, Text)),
    ),
)

GENERATED_IMAGES: Final = Fact(
    name="generated_images",
    description="Pictures that generations made, with what they were made of; the bytes are files named by sha256.",
    grain="picture of a generation",
    origin=_table(GeneratedImage),
    order_by=(GeneratedImage.pk,),
    columns=(
        Column("image_id", _TEXT, "Public id (UUID), as the API gives it", GeneratedImage.id),
        Column("job_id", _TEXT, "The generation", GeneratedImage.job_id),
        Column("position", _INTEGER, "Within the generation, from 0", GeneratedImage.position),
        Column("backend", _TEXT, "Mode that made it: sdnext, a1111, comfyui, diffusers, …", GeneratedImage.mode),
        Column("sha256", _TEXT, "SHA-256 of the bytes, lower case", GeneratedImage.sha256),
        Column("format", _TEXT, "png, jpg or webp", GeneratedImage.format),
        Column("width", _INTEGER, "Pixels", GeneratedImage.width),
        Column("height", _INTEGER, "Pixels", GeneratedImage.height),
        Column("bytes", _INTEGER, "Size of the file", GeneratedImage.size),
        Column("seed", _INTEGER, "Seed of this picture; NULL where the backend does not say", GeneratedImage.seed),
        Column("prompt", _TEXT, "Prompt as it was composed", GeneratedImage.prompt),
        Column("params", _TEXT, "Parameters as they were asked for, as JSON", cast(GeneratedImage.params, Text)),
        Column("rating", _INTEGER, "The user's rating; NULL while there is none", GeneratedImage.rating),
        Column("is_favorite", _BOOLEAN, "Whether the user marked it", GeneratedImage.is_favorite),
        Column("created_at", _MOMENT, "When it was made (UTC)", GeneratedImage.created_at),
        Column("deleted_at", _MOMENT, "When the user deleted it (UTC); NULL while kept", GeneratedImage.deleted_at),
    ),
)

ADAPTER_USES: Final = Fact(
    name="adapter_uses",
    description="Adapters in prompts that were delivered or generated with success.",
    grain="delivery or generation, and adapter in its prompt",
    origin=_table(AdapterUse),
    order_by=(AdapterUse.pk,),
    columns=(
        Column("job_id", _TEXT, "The delivery or generation", AdapterUse.job_id),
        Column("kind", _TEXT, "delivery or generation", AdapterUse.kind),
        Column("backend", _TEXT, "Mode: http, cli, sdnext, …", AdapterUse.mode),
        Column("adapter_id", _TEXT, "The adapter; NULL where the library had none of that name", AdapterUse.adapter_id),
        Column("name", _TEXT, "Name in the token of the prompt", AdapterUse.name),
        Column("weight", _REAL, "Weight in the token", AdapterUse.weight),
        Column(
            "status",
            _TEXT,
            "sent with a delivery; applied by a backend that says so, or unverified by one that says nothing",
            AdapterUse.status,
        ),
        Column("others", _TEXTS, "Names of the other adapters of the prompt", AdapterUse.others),
        Column("used_at", _MOMENT, "When (UTC)", AdapterUse.used_at),
    ),
)

FACTS: Final[tuple[Fact, ...]] = (
    ADAPTERS,
    ADAPTER_TAGS,
    FILES,
    INSPECTIONS,
    DOCUMENTS,
    FINDINGS,
    DUPLICATES,
    COMMUNITY_STATISTICS,
    EMBEDDINGS,
    GENERATIONS,
    GENERATED_IMAGES,
    ADAPTER_USES,
)
