"""Contradictions: where what is said of a weight file, if only by its place, is not what was measured of it.

A claim is never corrected, only held against the measurement; the finding says which document, what, and what to do.
"""

from collections.abc import Sequence
from typing import Final

from warehouse.civitai.facts import Finding, WeightFacts
from warehouse.civitai.resolution import hash_matches, is_weight_claim
from warehouse.civitai.statements import Statement
from warehouse.civitai.values import family
from warehouse.civitai.verdicts import FindingCode, Severity

_SURE: Final = 0.8
"""Confidence from which the tensors' base model may contradict a document's."""


def contradictions(statements: Sequence[Statement], weight: WeightFacts) -> list[Finding]:
    """Every contradiction between statements and the file; hashes not computed yet contradict nothing."""
    findings = []
    for statement in statements:
        finding = _sha256_mismatch(statement, weight) or _payload_mismatch(statement, weight)
        if finding is not None:
            findings.append(finding)
    findings.extend(found for found in (_base_model_mismatch(statements, weight), _no_adapter(weight)) if found)
    return findings


def _sha256_mismatch(statement: Statement, weight: WeightFacts) -> Finding | None:
    version = statement.record.version
    if version is None or weight.sha256 is None:
        return None
    claimed = {file.hashes["sha256"] for file in version.files if is_weight_claim(file) and "sha256" in file.hashes}
    if not claimed or weight.sha256.lower() in claimed:
        return None
    if any(hash_matches(file, weight) for file in version.files):
        what, severity = "the same weights under another header", Severity.INFO
    else:
        what, severity = "other bytes than the ones described", Severity.WARNING
    return Finding(
        code=FindingCode.SHA256_MISMATCH,
        severity=severity,
        path=weight.path,
        message=(
            f"{weight.path} has the SHA-256 {weight.sha256[:12]}…, but {statement.source.path} states "
            f"{', '.join(sorted(value[:12] + '…' for value in claimed))}: the file holds {what}. "
            "Download it again, or let the tool fetch the sidecar again."
        ),
        data={"document": statement.source.path, "claimed": sorted(claimed), "measured": weight.sha256},
    )


def _payload_mismatch(statement: Statement, weight: WeightFacts) -> Finding | None:
    claimed = statement.record.payload_sha256
    if claimed is None or weight.payload_sha256 is None or claimed == weight.payload_sha256.lower():
        return None
    return Finding(
        code=FindingCode.PAYLOAD_HASH_MISMATCH,
        severity=Severity.INFO,
        path=weight.path,
        message=(
            f"{statement.source.path} states the hash {claimed[:12]}… for the tensors of {weight.path}, but they have "
            f"{weight.payload_sha256[:12]}…: the weights were changed after the hash was written."
        ),
        data={"document": statement.source.path, "claimed": claimed, "measured": weight.payload_sha256},
    )


def _no_adapter(weight: WeightFacts) -> Finding | None:
    """A checkpoint or an embedding among the adapters. Listed all the same: an adapter of a new kind looks like it."""
    header = weight.header
    if header is None or not header.tensor_count or header.network_type is not None:
        return None
    return Finding(
        code=FindingCode.NO_ADAPTER_TENSORS,
        severity=Severity.WARNING,
        path=weight.path,
        message=(
            f"{weight.path} holds {header.tensor_count:,} tensors, none of a known adapter network: it may be a "
            "checkpoint or an embedding. It is listed; keep files of other kinds outside the library's folders."
        ),
        data={"tensors": header.tensor_count},
    )


def _base_model_mismatch(statements: Sequence[Statement], weight: WeightFacts) -> Finding | None:
    header = weight.header
    if header is None or header.base_model is None or (header.base_model_confidence or 0.0) < _SURE:
        return None
    measured = family(header.base_model)
    for statement in statements:
        stated = statement.record.version.base_model if statement.record.version is not None else None
        claimed = family(stated)
        if stated is None or claimed is None or stated.casefold() == "other":
            continue
        if claimed == measured:
            return None
        return Finding(
            code=FindingCode.BASE_MODEL_MISMATCH,
            severity=Severity.WARNING,
            path=weight.path,
            message=(
                f"{statement.source.path} states the base model {stated}, but the tensors of {weight.path} are those "
                f"of {header.base_model} ({header.base_model_evidence or 'by their shapes'}). The document's word is "
                "kept; check that file and document belong together."
            ),
            data={
                "document": statement.source.path,
                "claimed": stated,
                "measured": header.base_model,
                "confidence": header.base_model_confidence,
            },
        )
    return None
