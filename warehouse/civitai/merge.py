"""`merge`: everything the documents of one bundle say, decided field by field into drafts of adapters.

What belongs here: which version is whose, the order of precedence, provenance, and findings. What does not: reading
(`documents`), choosing versions and files (`resolution`), and the fields of one draft (`drafts`).
"""

from collections.abc import Iterable, Sequence

import msgspec
from msgspec import Struct

from warehouse.civitai.contradictions import contradictions
from warehouse.civitai.drafts import DraftBuilder, assess
from warehouse.civitai.facts import AdapterDraft, BundleFacts, Finding, Merged, Source, WeightFacts
from warehouse.civitai.records import Record
from warehouse.civitai.resolution import Resolution, hash_matches, resolve
from warehouse.civitai.statements import Statement
from warehouse.civitai.verdicts import FileState, FindingCode, ReasonCode, Severity, Verdict

VersionKey = tuple[str, int]
"""`("id", version id)`, or `(document path, position)` of a version without a number."""


class _Sorted(Struct, kw_only=True):
    """The statements of a bundle by what they speak of."""

    versions: dict[VersionKey, list[Statement]]
    """Of one version each."""
    models: list[Statement]
    """Of a model as a whole: items that list no version."""
    siblings: list[Statement]
    """Of the weight beside them, naming no version."""


def merge(bundle: BundleFacts) -> Merged:
    """Decide between all documents of a bundle. Never raises on what a `Reading` can hold.

    The version that resolves to the weight file is `present` (or `invalid`); every other version is `remote`.
    """
    merged = decide(bundle)
    for draft in merged.drafts:
        assess(draft)
    return merged


def decide(bundle: BundleFacts) -> Merged:
    """The same but for what `assess` adds: whoever merges many bundles has their drafts take that step together."""
    found = _sort(bundle.sources)
    findings: list[Finding] = []
    if _is_no_adapter(bundle, found, findings):
        return Merged(drafts=[], findings=findings)
    builder = DraftBuilder(bundle.directory, bundle.stem)
    resolution: Resolution[VersionKey] = Resolution(None, None)
    if bundle.weight is not None or _keeps_user_facts(found):
        resolution = _resolve(bundle, found, findings)
    drafts: list[AdapterDraft] = []
    if bundle.weight is not None:
        drafts.append(_weight_draft(builder, bundle.weight, found, resolution, findings))
    elif resolution.key is None and found.siblings:
        drafts.extend(_sibling_draft(builder, found, findings))
    drafts.extend(_remote_drafts(builder, bundle, found, resolution))
    return Merged(drafts=drafts, findings=[*findings, *builder.findings])


def _keeps_user_facts(found: _Sorted) -> bool:
    """Whether anything in the bundle is about the one file beside the documents, so that its version matters."""
    if found.siblings:
        return True
    return any(not item.record.user.is_empty() for statements in found.versions.values() for item in statements)


def _sort(sources: Iterable[Source]) -> _Sorted:
    found = _Sorted(versions={}, models=[], siblings=[])
    for source in sorted(sources, key=lambda source: source.path):
        if source.reading.verdict is not Verdict.ACCEPTED:
            continue
        for index, record in enumerate(source.reading.records):
            statement = Statement(source, record)
            if record.version_id is not None:
                found.versions.setdefault(("id", record.version_id), []).append(statement)
            elif not statement.is_civitai:
                found.siblings.append(statement)
            elif record.version is not None:
                found.versions.setdefault((source.path, index), []).append(statement)
            else:
                found.models.append(statement)
    return found


def _is_no_adapter(bundle: BundleFacts, found: _Sorted, findings: list[Finding]) -> bool:
    """Whether the bundle's documents say that it is no LoRA, and its weight's header does not contradict."""
    ruled_out = [source for source in bundle.sources if source.reading.reason_code is ReasonCode.NOT_A_LORA]
    if not ruled_out or found.versions or found.models:
        return False
    if bundle.weight is None:
        # The documents' own verdicts say why; what a person keeps beside them is about a file of another kind.
        return True
    header = bundle.weight.header
    network = header.network_type if header is not None else None
    findings.append(_not_a_lora(bundle.weight, ruled_out[0], network))
    return network is None


def _not_a_lora(weight: WeightFacts, source: Source, network: str | None) -> Finding:
    if network is None:
        code, severity = FindingCode.NOT_A_LORA, Severity.INFO
        message = f"{weight.path} is left out, for it is no LoRA adapter: {source.reading.reason}"
    else:
        code, severity = FindingCode.DOCUMENT_SAYS_NOT_A_LORA, Severity.WARNING
        message = (
            f"{weight.path} holds a {network} adapter, but {source.path} says otherwise: {source.reading.reason} "
            "It is taken as an adapter; remove or replace the document if it belongs to another file."
        )
    return Finding(code=code, severity=severity, path=weight.path, message=message, data={"document": source.path})


def _resolve(bundle: BundleFacts, found: _Sorted, findings: list[Finding]) -> Resolution[VersionKey]:
    file_name = bundle.weight.file_name if bundle.weight is not None else f"{bundle.stem}.safetensors"
    versions = {
        key: [statement.record.version for statement in statements if statement.record.version is not None]
        for key, statements in found.versions.items()
    }
    pins = _pins(found)
    resolution = resolve(versions, file_name=file_name, weight=bundle.weight, pinned=[key for key, _ in pins])
    if bundle.weight is None:
        return resolution
    if resolution.key is None and resolution.candidates:
        findings.append(_ambiguous(bundle.weight, found, resolution.candidates))
    others = [statement for key, statement in pins if key != resolution.key]
    if resolution.key is not None and others:
        chosen = _version_label(found.versions[resolution.key][0].record)
        findings.append(_disagreement(bundle.weight, f"{chosen} (by {resolution.method})", others))
    return resolution


def _pins(found: _Sorted) -> list[tuple[VersionKey, Statement]]:
    """Versions named by documents that speak of the file beside them alone, best source first."""
    speaking = [
        (key, statement)
        for key, statements in found.versions.items()
        for statement in statements
        if statement.is_about_sibling
    ]
    return sorted(speaking, key=lambda pin: (pin[1].rank, pin[1].source.path))


def _ambiguous(weight: WeightFacts, found: _Sorted, candidates: Sequence[VersionKey]) -> Finding:
    named = [_version_label(found.versions[key][0].record) for key in candidates]
    document = found.versions[candidates[0]][0].source.path
    shown = ", ".join(named[:8]) + (", …" if len(named) > 8 else "")
    return Finding(
        code=FindingCode.AMBIGUOUS_VERSION,
        severity=Severity.WARNING,
        path=weight.path,
        message=(
            f"{weight.path} could be any of {len(named)} versions that {document} describes ({shown}): neither hash, "
            "file name nor number tells which. It is listed with what holds for all of them; rename the file as the "
            "version's file is called on Civitai, or add a .civitai.info of its version."
        ),
        data={"document": document, "versions": named[:50]},
    )


def _disagreement(weight: WeightFacts, chosen: str, others: Sequence[Statement]) -> Finding:
    listed = ", ".join(f"{other.source.path} says {_version_label(other.record)}" for other in others[:5])
    return Finding(
        code=FindingCode.SIDECARS_DISAGREE,
        severity=Severity.WARNING,
        path=weight.path,
        message=(
            f"{weight.path} is taken as {chosen}, but {listed}. The file was probably replaced after its sidecar was "
            "written: let the tool fetch the sidecar again."
        ),
        data={"documents": [other.source.path for other in others[:50]]},
    )


def _version_label(record: Record) -> str:
    name = (record.version.name if record.version is not None else None) or "a version without a name"
    return f"{name} ({record.version_id})" if record.version_id is not None else name


def _weight_draft(
    builder: DraftBuilder,
    weight: WeightFacts,
    found: _Sorted,
    resolution: Resolution[VersionKey],
    findings: list[Finding],
) -> AdapterDraft:
    if resolution.key is not None:
        statements = [*found.versions[resolution.key], *found.siblings]
        model_id = next((item.record.model_id for item in statements if item.record.model_id is not None), None)
        statements += [item for item in found.models if model_id is None or item.record.model_id in (None, model_id)]
    elif found.versions:
        statements = [*_model_level(found, resolution.candidates), *found.siblings]
    else:
        statements = [*_one_model(found.models), *found.siblings]
    statements = _ordered([*statements, *_kept_under_other_versions(found, resolution.key)], weight)
    findings.extend(contradictions(statements, weight))
    return builder.build(
        statements,
        source_key=f"file:{weight.path}",
        weight=weight,
        file_path=weight.path,
        file_state=FileState.PRESENT if weight.problem is None else FileState.INVALID,
    )


def _kept_under_other_versions(found: _Sorted, chosen: VersionKey | None) -> list[Statement]:
    """What a person keeps about the file in sidecars that name another version than the one it turned out to be."""
    return [
        item.user_facts_alone()
        for key, statements in found.versions.items()
        if key != chosen
        for item in statements
        if item.is_about_sibling and not item.record.user.is_empty()
    ]


def _model_level(found: _Sorted, candidates: Sequence[VersionKey]) -> list[Statement]:
    """What the documents say of the model alone; nothing where the candidates are of several models."""
    statements = [statement for key in candidates for statement in found.versions[key]]
    models = {(item.record.model_id, item.record.model.name) for item in statements}
    if len({model_id for model_id, _ in models}) != 1 or (None in {i for i, _ in models} and len(models) > 1):
        return []
    seen: set[str] = set()
    result = []
    for item in [*statements, *found.models]:
        if item.source.path not in seen:
            seen.add(item.source.path)
            record = msgspec.structs.replace(item.record, version=None, payload_sha256=None)
            result.append(Statement(item.source, record))
    return result


def _one_model(statements: list[Statement]) -> list[Statement]:
    return statements if len({item.record.model_id for item in statements}) <= 1 else []


def _ordered(statements: Iterable[Statement], weight: WeightFacts | None) -> list[Statement]:
    """By precedence: documents of Civitai whose hash is the file's first, then by kind, then newest first."""

    def key(statement: Statement) -> tuple[int, int, str]:
        # For a version whose file is elsewhere nothing can be measured: Civitai's word is the best there is.
        matched = weight is None or _is_matched(statement, weight)
        return (statement.precedence(matched=matched), -statement.source.mtime_ns, statement.source.path)

    return sorted(statements, key=key)


def _is_matched(statement: Statement, weight: WeightFacts) -> bool:
    version = statement.record.version
    return version is not None and any(hash_matches(file, weight) for file in version.files)


def _sibling_draft(builder: DraftBuilder, found: _Sorted, findings: list[Finding]) -> list[AdapterDraft]:
    """The adapter of sidecars whose weight is gone or elsewhere; none where several versions could be meant."""
    path = found.siblings[0].source.path
    if found.versions or len({item.record.model_id for item in found.models}) > 1:
        findings.append(
            Finding(
                code=FindingCode.AMBIGUOUS_VERSION,
                severity=Severity.WARNING,
                path=path,
                message=(
                    f"{path} speaks of a weight file that is not there, and the documents beside it describe several "
                    "versions: its values belong to none of them for certain and are not used."
                ),
                data={"documents": [item.source.path for item in found.siblings]},
            )
        )
        return []
    statements = _ordered([*found.siblings, *found.models], None)
    model_id = next((item.record.model_id for item in statements if item.record.model_id is not None), None)
    return [
        builder.build(
            statements,
            source_key=f"{min(item.source.path for item in statements)}#civitai:{model_id or ''}@",
            weight=None,
            file_path=builder.sibling_path(),
            file_state=FileState.REMOTE,
        )
    ]


def _remote_drafts(
    builder: DraftBuilder, bundle: BundleFacts, found: _Sorted, resolution: Resolution[VersionKey]
) -> list[AdapterDraft]:
    drafts = []
    for key, own in found.versions.items():
        if bundle.weight is not None and key == resolution.key:
            continue
        statements = [*own, *_of_same_model(found.models, own)]
        if bundle.weight is None and key == resolution.key:
            statements += [*found.siblings, *_kept_under_other_versions(found, key)]
        elif bundle.weight is not None or resolution.key is not None:
            # What a person keeps is about the file beside the document, which is another version.
            statements = [item.without_user_facts() for item in statements]
        drafts.append(_remote_draft(builder, _ordered(statements, None), own, key))
    if not found.versions and not (bundle.weight is not None or found.siblings):
        drafts.extend(
            _remote_draft(builder, [item], [item], (item.source.path, position))
            for position, item in enumerate(found.models)
        )
    return drafts


def _of_same_model(models: Iterable[Statement], own: Sequence[Statement]) -> list[Statement]:
    ids = {item.record.model_id for item in own} - {None}
    return [item for item in models if item.record.model_id in ids]


def _remote_draft(
    builder: DraftBuilder, statements: list[Statement], own: Sequence[Statement], key: VersionKey
) -> AdapterDraft:
    model_id = next((item.record.model_id for item in statements if item.record.model_id is not None), None)
    number = str(key[1]) if key[0] == "id" else f"#{key[1]}"
    return builder.build(
        statements,
        source_key=f"{min(item.source.path for item in own)}#civitai:{model_id or ''}@{number}",
        weight=None,
        file_path=None,
        file_state=FileState.REMOTE,
        beside_documents=any(item.is_about_sibling for item in own),
    )
