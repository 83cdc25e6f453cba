"""The adapters of one bundle, from its bytes to finished rows. Runs in worker processes, so no database here.

Belongs here: reading the header where it is not known yet, and turning drafts into the values of columns (JSON as
text, tags folded, words cut for the index), so that whoever writes them only writes. Does not: identity across
bundles, names that clash, user state (`writer`).
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import msgspec
from blake3 import blake3
from isal import isal_zlib
from msgspec import Struct

from warehouse.civitai import (
    AdapterDraft,
    BundleFacts,
    Finding,
    Shape,
    Source,
    Verdict,
    WeightFacts,
    assess,
    decide,
    read_document,
)
from warehouse.civitai.names import base_name
from warehouse.civitai.resolution import hash_matches, is_weight_claim
from warehouse.fulltext import fold, search_row
from warehouse.ingest.steps import Fault, each, together
from warehouse.safetensors import HeaderFacts, HeaderProblem, Inspection, InspectionState, inspect_file
from warehouse.storage import is_stored

BUILD_PRODUCER: Final = "adapters/4"
"""Version of everything that derives adapters: raised when the same bytes shall give other rows."""
INSPECT_PRODUCER: Final = "inspections/1"
"""Version of what is read from headers: raised when the same file shall be described otherwise."""
FILE_KEY: Final = "file:"
"""Start of the source key of an adapter that has a weight file of the library."""
_MAX_CLAIMS: Final = 10_000
_CLAIM_KINDS: Final = ("sha256", "blake3", "autov3", "autov2")
"""The strongest first. CRC-32 and AutoV1 are too short to tell a million files apart."""
SILENT_SHAPES: Final = frozenset({Shape.A1111, Shape.HEADER_DUMP})
"""What a person or a trainer keeps about the file beside it; it tells no version, and nothing of other files."""
Claim = tuple[str, str]
"""(hash in lower case, kind): a weight file that a document speaks of."""
_JSON: Final = msgspec.json.Encoder()


class DocumentTask(Struct, array_like=True, frozen=True):
    """A document with its raw bytes (zlib); `own` is false for one of another bundle that states this file's hash."""

    path: str
    size: int
    mtime_ns: int
    raw: bytes
    own: bool


class InspectionRow(Struct, array_like=True, frozen=True, kw_only=True):
    """What the header of a weight file tells, as columns of `inspections`."""

    file_pk: int
    size: int
    mtime_ns: int
    valid: bool | None
    problem: str | None
    message: str | None
    network_type: str | None = None
    rank: int | None = None
    alpha: float | None = None
    base_model: str | None = None
    base_model_confidence: float | None = None
    base_model_evidence: str | None = None
    tensor_count: int | None = None
    parameter_count: int | None = None
    facts: str | None = None


class WeightTask(Struct, array_like=True, frozen=True, kw_only=True):
    """A weight file as known. `facts` (JSON of `HeaderFacts`) and `problem` hold while `inspected`; `fresh` is what
    they were just read from, for an object of a store, which a worker cannot reach."""

    pk: int
    path: str
    size: int
    mtime_ns: int
    is_there: bool
    sha256: str | None
    payload_sha256: str | None
    blake3: str | None
    crc32: str | None
    inspected: bool
    valid: bool | None
    problem: str | None
    facts: str | None
    fresh: InspectionRow | None = None


class BundleTask(Struct, array_like=True, frozen=True, kw_only=True):
    """A bundle to derive adapters from, at the revision that its elements were read at."""

    pk: int
    revision: int
    directory: str
    stem: str
    weights: list[WeightTask]
    documents: list[DocumentTask]


class DerivedFinding(Struct, array_like=True, frozen=True):
    """A finding; `data` is JSON."""

    code: str
    severity: str
    path: str | None
    message: str
    data: str | None


class Columns(Struct, array_like=True, frozen=True, kw_only=True, gc=False):
    """The columns of `adapters` that documents and files decide; those of JSON as text."""

    name: str
    version: str | None
    canonical_version_name: str | None
    description: str | None
    author_username: str | None
    visibility: str
    published_at: datetime | None
    tags: str
    trained_words: str
    triggers: str
    activation_text: str | None
    negative_text: str | None
    archetype: str | None
    archetype_confidence: float | None
    base_model: str | None
    sd_version: str | None
    nsfw_level: int
    supports_generation: bool
    civitai_model_id: int | None
    civitai_version_id: int | None
    downloads: int | None
    likes: int | None
    rating: float | None
    stats: str
    licence: str | None
    extra: str
    file_path: str
    file_state: str
    primary_file_name: str | None
    primary_file_size_kb: float | None
    primary_file_sha256: str | None
    primary_file_download_url: str | None
    primary_file_local_path: str | None
    json_file_path: str | None
    json_file_mtime: datetime | None
    json_file_size: int | None
    content_digest: str


class DerivedAdapter(Struct, array_like=True, frozen=True, kw_only=True):
    """One adapter as values of columns.

    `weight` and `favorite` are what a sidecar suggests for user state. `digest` covers everything else in here.
    """

    source_key: str
    file_pk: int | None
    columns: Columns
    weight: float | None
    favorite: bool | None
    provenance: str
    description_text: str | None
    notes: str | None
    examples: str
    strengths: str | None
    tags: list[str]
    search: dict[str, str]
    digest: str


class Derived(Struct, array_like=True, frozen=True, kw_only=True):
    """What one bundle gives. `claims` are those of its own documents."""

    pk: int
    revision: int
    adapters: list[DerivedAdapter]
    findings: list[DerivedFinding]
    claims: list[Claim]
    inspections: list[InspectionRow]


class Begun(Struct, frozen=True, kw_only=True):
    """A bundle whose documents are merged, before its adapters are made into rows.

    `adapters` are drafts by source key, each with the number of its weight file and its state.
    """

    task: BundleTask
    sources: Sequence[tuple[Source, bool]]
    adapters: dict[str, tuple[AdapterDraft, int | None, str]]
    findings: list[DerivedFinding]
    inspections: list[InspectionRow]


def derive_all(tasks: Sequence[BundleTask], max_bytes: int) -> list[Derived | Fault]:
    """Derive the adapters of bundles, in their order."""
    results: list[Derived | Fault] = []
    for some in together(tasks):
        begun = each(lambda task: begin(task, _sources(task, max_bytes)), some)
        results += each(finish, each(weigh, begun))
    return results


def derive(task: BundleTask, max_bytes: int) -> Derived:
    """Derive the adapters of a bundle."""
    return finish(weigh(begin(task, _sources(task, max_bytes))))


def begin(task: BundleTask, sources: Sequence[tuple[Source, bool]]) -> Begun:
    """Merge the documents of a bundle as they were read, each with whether it is the bundle's own."""
    is_foreign = not all(own for _, own in sources)
    inspections: list[InspectionRow] = []
    adapters: dict[str, tuple[AdapterDraft, int | None, str]] = {}
    findings: dict[tuple[str, str | None, str], DerivedFinding] = {}
    weights: list[WeightTask | None] = [*task.weights] or [None]
    for weight in weights:
        facts, is_there = None, False
        if weight is not None:
            facts, is_there, inspection = _inspect(weight)
            if inspection is not None:
                inspections.append(inspection)
        spoken = [source for source, own in sources if own or (facts is not None and _speaks_of(source, facts))]
        merged = decide(BundleFacts(directory=task.directory, stem=task.stem, weight=facts, sources=spoken))
        for draft in merged.drafts:
            is_file = draft.source_key.startswith(FILE_KEY)
            if is_file or not is_foreign:
                state = "missing" if is_file and not is_there else str(draft.file_state)
                pk = weight.pk if weight is not None and is_file else None
                adapters.setdefault(draft.source_key, (draft, pk, state))
        for finding in merged.findings:
            findings.setdefault((finding.code, finding.path, finding.message), _finding(finding))
    return Begun(
        task=task, sources=sources, adapters=adapters, findings=list(findings.values()), inspections=inspections
    )


def weigh(begun: Begun) -> Begun:
    """Add to the drafts of a merged bundle what follows from their fields."""
    for draft, _, _ in begun.adapters.values():
        assess(draft)
    return begun


def finish(begun: Begun) -> Derived:
    """Make the adapters of a merged bundle into rows."""
    return Derived(
        pk=begun.task.pk,
        revision=begun.task.revision,
        adapters=_one_per_version([_adapter(*made) for made in begun.adapters.values()]),
        findings=begun.findings,
        claims=_claims(source for source, own in begun.sources if own),
        inspections=begun.inspections,
    )


def _sources(task: BundleTask, max_bytes: int) -> list[tuple[Source, bool]]:
    return [(_source(document, max_bytes), document.own) for document in task.documents]


def _source(document: DocumentTask, max_bytes: int) -> Source:
    raw = isal_zlib.decompress(document.raw)
    name = document.path.rpartition("/")[2]
    # The limit may have been lowered since the bytes were taken; they count all the same.
    reading = read_document(raw, file_name=name, max_bytes=max(max_bytes, len(raw)))
    return Source(path=document.path, mtime_ns=document.mtime_ns, size=document.size, reading=reading)


def _speaks_of(source: Source, weight: WeightFacts) -> bool:
    """Whether a document from elsewhere states this file: its hash, or its name where it states no SHA-256."""
    return any(
        hash_matches(file, weight)
        or ("sha256" not in file.hashes and file.name is not None and base_name(file.name) == weight.file_name)
        for record in source.reading.records
        for file in (record.version.files if record.version is not None else ())
    )


def _inspect(weight: WeightTask) -> tuple[WeightFacts, bool, InspectionRow | None]:
    """The facts of a weight file, whether it is there, and its inspection if it was read just now."""
    if weight.inspected or not weight.is_there or is_stored(weight.path):
        header = _known_facts(weight.facts) if weight.facts else None
        problem = weight.problem if weight.valid is False else None
        return _weight_facts(weight, header, problem), weight.is_there, weight.fresh
    inspection = inspect_file(Path(weight.path), hashes=False)
    if inspection.problem is HeaderProblem.vanished:
        return _weight_facts(weight, None, None), False, None
    problem = inspection.problem if inspection.state is InspectionState.invalid else None
    return (
        _weight_facts(weight, inspection.facts, problem),
        True,
        inspection_row(weight.pk, weight.size, weight.mtime_ns, inspection),
    )


def _known_facts(encoded: str) -> HeaderFacts:
    facts = msgspec.json.decode(encoded)
    # JSON has no numbers as keys.
    facts["per_module_rank"] = {int(rank): modules for rank, modules in facts["per_module_rank"].items()}
    return HeaderFacts(**facts)


def _weight_facts(weight: WeightTask, header: HeaderFacts | None, problem: str | None) -> WeightFacts:
    return WeightFacts(
        path=weight.path,
        size=weight.size,
        header=header,
        sha256=weight.sha256,
        payload_sha256=weight.payload_sha256,
        blake3=weight.blake3,
        autov2=weight.sha256[:10] if weight.sha256 else None,
        autov3=weight.payload_sha256[:12] if weight.payload_sha256 else None,
        crc32=weight.crc32,
        problem=problem,
    )


def inspection_row(file_pk: int, size: int, mtime_ns: int, inspection: Inspection) -> InspectionRow:
    """The columns of an inspection of a file of that size and time.

    A format that is never opened is neither valid nor invalid.
    """
    facts = inspection.facts
    row = InspectionRow(
        file_pk=file_pk,
        size=size,
        mtime_ns=mtime_ns,
        valid=None if inspection.state is InspectionState.not_inspected else inspection.valid,
        problem=inspection.problem,
        message=_text(inspection.message),
    )
    if facts is None:
        return row
    return msgspec.structs.replace(
        row,
        network_type=_text(facts.network_type),
        rank=facts.rank,
        alpha=facts.alpha,
        base_model=_text(facts.base_model),
        base_model_confidence=facts.base_model_confidence,
        base_model_evidence=_text(facts.base_model_evidence),
        tensor_count=facts.tensor_count,
        parameter_count=facts.parameter_count,
        facts=_json(facts),
    )


def _one_per_version(adapters: Iterable[DerivedAdapter]) -> list[DerivedAdapter]:
    """Without the remote adapters of versions whose file is beside them under another suffix."""
    every = list(adapters)
    here = {adapter.columns.civitai_version_id for adapter in every if adapter.source_key.startswith(FILE_KEY)} - {None}
    return [
        adapter
        for adapter in every
        if adapter.source_key.startswith(FILE_KEY) or adapter.columns.civitai_version_id not in here
    ]


def _adapter(draft: AdapterDraft, file_pk: int | None, file_state: str) -> DerivedAdapter:
    extra = draft.extra if draft.nsfw is None else {**draft.extra, "nsfw": draft.nsfw}
    columns = Columns(
        name=_clean(draft.name),
        version=_text(draft.version),
        canonical_version_name=_text(draft.canonical_version_name),
        description=_text(draft.description),
        author_username=_text(draft.author_username),
        visibility=draft.visibility,
        published_at=draft.published_at,
        tags=_json(draft.tags),
        trained_words=_json(draft.trained_words),
        triggers=_json(draft.triggers),
        activation_text=_text(draft.activation_text),
        negative_text=_text(draft.negative_text),
        archetype=draft.archetype,
        archetype_confidence=draft.archetype_confidence,
        base_model=_text(draft.base_model),
        sd_version=_text(draft.sd_version),
        nsfw_level=draft.nsfw_level,
        supports_generation=draft.supports_generation,
        civitai_model_id=draft.civitai_model_id,
        civitai_version_id=draft.civitai_version_id,
        downloads=draft.downloads,
        likes=draft.likes,
        rating=draft.rating,
        stats=_json(draft.stats),
        licence=None if draft.licence is None else _json(draft.licence),
        extra=_json(extra),
        file_path=draft.file_path,
        file_state=file_state,
        primary_file_name=_text(draft.primary_file_name),
        primary_file_size_kb=draft.primary_file_size_kb,
        primary_file_sha256=draft.primary_file_sha256,
        primary_file_download_url=_text(draft.primary_file_download_url),
        primary_file_local_path=draft.primary_file_local_path,
        json_file_path=draft.json_file_path,
        json_file_mtime=draft.json_file_mtime,
        json_file_size=draft.json_file_size,
        content_digest=draft.content_digest,
    )
    text, notes = _text(draft.description_text), _text(draft.notes)
    adapter = DerivedAdapter(
        source_key=draft.source_key,
        file_pk=file_pk,
        columns=columns,
        weight=draft.weight,
        favorite=draft.favorite,
        provenance=_json(_by_source(draft.provenance)),
        description_text=text,
        notes=notes,
        examples=_json(draft.examples),
        strengths=_strengths(draft),
        tags=fold_tags(draft.tags),
        search=search_row(
            name=_clean(draft.name),
            version=_text(draft.version),
            author=_text(draft.author_username),
            tags=map(_clean, draft.tags),
            words=map(_clean, draft.trained_words),
            description=text,
            notes=notes,
        ),
        digest="",
    )
    # Nobody else has the adapter yet.
    digest = blake3(msgspec.msgpack.encode(adapter)).hexdigest(length=16)
    msgspec.structs.force_setattr(adapter, "digest", digest)
    return adapter


def _by_source(provenance: Mapping[str, str]) -> dict[str, list[str]]:
    """The fields that were taken from each source, which is a long path in most cases and the same for all."""
    sources = set(provenance.values())
    if len(sources) == 1:
        return {sources.pop(): list(provenance)}
    fields: dict[str, list[str]] = {}
    for field, source in provenance.items():
        fields.setdefault(source, []).append(field)
    return fields


def _strengths(draft: AdapterDraft) -> str | None:
    """The weights that are known of an adapter: those of its example images, and the one that somebody prefers."""
    known = {} if draft.strengths is None else msgspec.to_builtins(draft.strengths)
    if draft.weight is not None:
        known["preferred"] = draft.weight
    return _json(known) if known else None


def fold_tags(tags: Iterable[str]) -> list[str]:
    """Tags as they are compared, each once, none of them empty."""
    return [folded for folded in dict.fromkeys(map(_fold_tag, tags)) if folded]


@lru_cache(maxsize=10_000)
def _fold_tag(tag: str) -> str:
    # The same few thousand tags stand on nearly every model.
    return fold(_clean(tag)).strip()


def _claims(sources: Iterable[Source]) -> list[Claim]:
    claims: dict[str, str] = {}
    for source in sources:
        if source.reading.verdict is not Verdict.ACCEPTED or source.reading.shape in SILENT_SHAPES:
            continue
        for record in source.reading.records:
            for file in record.version.files if record.version is not None else ():
                kind = next((kind for kind in _CLAIM_KINDS if kind in file.hashes), None)
                if kind is not None and is_weight_claim(file):
                    claims.setdefault(file.hashes[kind].lower(), kind)
    return list(claims.items())[:_MAX_CLAIMS]


def _finding(finding: Finding) -> DerivedFinding:
    return DerivedFinding(
        str(finding.code),
        str(finding.severity),
        finding.path,
        _clean(finding.message),
        _json(finding.data) if finding.data else None,
    )


def failed(task: BundleTask, what: str) -> Derived:
    """The result of a bundle that met a fault of ours: a finding, and adapters left as they were."""
    path = f"{task.directory}/{task.stem}"
    message = (
        f"{path}: {what}. Its adapters stay as they were; please report it with the documents. Everything else goes on."
    )
    finding = DerivedFinding("internal_error", "error", path, _clean(message), None)
    return Derived(pk=task.pk, revision=task.revision, adapters=[], findings=[finding], claims=[], inspections=[])


def _clean(text: str) -> str:
    # PostgreSQL's text cannot hold NUL.
    return text.replace("\x00", "") if "\x00" in text else text


def _text(text: str | None) -> str | None:
    return None if text is None else _clean(text)


def _json(value: Any) -> str:
    encoded = _JSON.encode(value).decode()
    # One character is far faster to look for, and most values have none of it.
    if "\\" not in encoded or "\\u0000" not in encoded:
        return encoded
    return _JSON.encode(_without_nul(msgspec.json.decode(encoded))).decode()


def _without_nul(value: Any) -> Any:
    if isinstance(value, str):
        return _clean(value)
    if isinstance(value, list):
        return [_without_nul(item) for item in value]
    if isinstance(value, dict):
        return {_clean(key): _without_nul(item) for key, item in value.items()}
    return value
