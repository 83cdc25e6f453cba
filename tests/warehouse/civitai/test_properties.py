"""Whatever bytes or values come in, reading and merging never raise, and what comes out can be stored."""

import json
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.warehouse.civitai.builders import SHA_A, file_entry, info, merged, model, version, weight
from warehouse.civitai import BundleFacts, Merged, Source, Verdict, merge, read_document

KEYS = st.sampled_from(
    [
        "id", "name", "type", "modelVersions", "items", "modelId", "files", "images", "meta", "meta", "trainedWords",
        "tags", "stats", "creator", "username", "hashes", "SHA256", "AutoV3", "baseModel", "description", "nsfwLevel",
        "allowCommercialUse", "activation text", "preferred weight", "sd version", "sha256", "file_name", "usage_tips",
        "civitai", "model", "ModelId", "VersionId", "Hashes", "modelspec.title", "modelspec.tags", "ss_network_dim",
        "ss_tag_frequency", "__metadata__", "raw", "word", "file", "key", "hash", "base", "versions", "metrics",
        "version", "resources", "publishedAt", "sizeKB", "primary", "strength", "air", "error", "user", "hashData",
    ]
)  # fmt: skip
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=20),
    st.sampled_from(["LORA", "Checkpoint", "<b>x", "0x", "||", "-mid_1-vid_2", "2025-01-01T00:00:00Z", SHA_A]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.one_of(KEYS, st.text(max_size=5)), inner, max_size=6)
    ),
    max_leaves=25,
)
DOCUMENTS = st.dictionaries(KEYS, VALUES, max_size=8)


def check(result: Merged) -> None:
    """What every outcome must satisfy to be stored."""
    encoded = msgspec.json.encode(result)
    assert b"\\u0000" not in encoded
    assert len({draft.source_key for draft in result.drafts}) == len(result.drafts)
    for draft in result.drafts:
        assert draft.name.strip()
        assert not set(draft.name) & set(":<>")
        assert draft.file_path.startswith("/lib/")
        assert "/../" not in draft.file_path
        assert draft.archetype_confidence is None or 0 <= draft.archetype_confidence <= 1
        assert draft.base_model is None or len(draft.base_model) <= 64
        assert len(draft.visibility) <= 32
        assert 0 <= draft.nsfw_level <= 63
        for number in (draft.civitai_model_id, draft.civitai_version_id, draft.downloads, draft.likes):
            assert number is None or 0 <= number < 2**63
        assert draft.primary_file_sha256 is None or len(draft.primary_file_sha256) == 64


def sources(values: list[Any], names: list[str]) -> list[Source]:
    """Documents at paths of the given names."""
    result = []
    for number, value in enumerate(values):
        raw = json.dumps(value).encode()
        path = f"/lib/{number}{names[number % len(names)]}"
        result.append(Source(path=path, mtime_ns=number, size=len(raw), reading=read_document(raw, file_name=path)))
    return result


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes(raw: bytes) -> None:
    reading = read_document(raw, file_name="x.json")
    assert (reading.reason_code is None) == (reading.verdict is Verdict.ACCEPTED)
    assert (reading.reason is None) == (reading.reason_code is None)


@settings(max_examples=400, deadline=None)
@given(st.lists(DOCUMENTS, min_size=1, max_size=3), st.booleans())
def test_any_documents(documents: list[dict[str, Any]], here: bool) -> None:
    bundle = BundleFacts(
        directory="/lib",
        stem="x",
        weight=weight("/lib/x.safetensors", sha256=SHA_A) if here else None,
        sources=sources(documents, [".json", ".civitai.info"]),
    )
    check(merge(bundle))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_sound_documents_with_one_field_replaced(data: st.DataObject) -> None:
    document: dict[str, Any] = data.draw(
        st.sampled_from([model(version(11), version(12, files=[file_entry("b.safetensors", None)])), info()])
    )
    document = json.loads(json.dumps(document))
    target: Any = document
    while True:
        key = data.draw(st.sampled_from(list(target) if isinstance(target, dict) else list(range(len(target)))))
        if isinstance(target[key], dict | list) and target[key] and data.draw(st.booleans()):
            target = target[key]
            continue
        target[key] = data.draw(VALUES)
        break
    for here in (None, weight("/lib/lantern.safetensors", sha256=SHA_A)):
        check(merged(*sources([document], [".json"]), beside=here))
