"""A weight file is the version that identifies it best; where nothing does it is ambiguous, never the first."""

from typing import Any

import pytest

from tests.warehouse.civitai.builders import (
    SHA_A,
    SHA_B,
    SHA_C,
    file_entry,
    info,
    merged,
    model,
    source,
    version,
    weight,
)
from warehouse.civitai import FindingCode, Merged, WeightFacts


def hashed(name: str, **hashes: str) -> dict[str, Any]:
    """A file with these hashes alone."""
    return file_entry(name, sha256=None, hashes=hashes)


TWO = model(
    version(
        11, "v1", files=[hashed("one.safetensors", SHA256=SHA_A, AutoV3=SHA_C[:12], BLAKE3=SHA_A, CRC32="2C10D575")]
    ),
    version(12, "v2", files=[hashed("two.safetensors", SHA256=SHA_B, AutoV2=SHA_B[:10], AutoV3="d4" * 6)]),
)


def resolved(document: dict[str, Any], beside: WeightFacts) -> int | None:
    """The version that the weight was taken as."""
    result = merged(source(document), beside=beside)
    assert result.drafts[0].source_key == f"file:{beside.path}"
    return result.drafts[0].civitai_version_id


@pytest.mark.parametrize(
    ("facts", "number"),
    [
        ({"sha256": SHA_B}, 12),
        ({"sha256": SHA_B.upper()}, 12),
        ({"payload_sha256": "d4" * 32}, 12),
        ({"autov3": "d4" * 6}, 12),
        ({"autov2": SHA_B[:10]}, 12),
        ({"sha256": SHA_C, "payload_sha256": SHA_C}, 11),
        ({"blake3": SHA_A}, 11),
        ({"crc32": "2c10d575"}, 11),
    ],
)
def test_by_hash(facts: dict[str, str], number: int) -> None:
    assert resolved(TWO, weight("/lib/renamed.safetensors", **facts)) == number


def test_a_hash_beats_the_file_name() -> None:
    assert resolved(TWO, weight("/lib/one.safetensors", sha256=SHA_B)) == 12


def test_a_file_name_beats_the_number_in_it() -> None:
    document = model(version(11), version(12, files=[file_entry("x-mid_7-vid_11.safetensors")]))
    assert resolved(document, weight("/lib/x-mid_7-vid_11.safetensors")) == 12


@pytest.mark.parametrize("name", ["two.safetensors", "TWO.safetensors", "two.pt"])
def test_by_file_name(name: str) -> None:
    assert resolved(TWO, weight(f"/lib/{name}")) == 12


def test_by_the_number_that_civitdl_writes() -> None:
    assert resolved(TWO, weight("/lib/anything-mid_7-vid_12.safetensors")) == 12


def test_one_file_name_for_all_versions_is_told_apart_by_size() -> None:
    document = model(
        version(11, files=[file_entry("same.safetensors", None, sizeKB=100.5)]),
        version(12, files=[file_entry("same.safetensors", None, sizeKB=200.25)]),
    )
    assert resolved(document, weight("/lib/same.safetensors", size=205_056)) == 12


def test_training_data_of_the_same_name_is_not_the_weight() -> None:
    document = model(
        version(11, files=[file_entry("same.safetensors", type="Training Data")]),
        version(12, files=[file_entry("same.safetensors", None)]),
    )
    assert resolved(document, weight("/lib/same.safetensors")) == 12


def test_a_single_version_needs_no_proof() -> None:
    assert resolved(model(), weight("/lib/quite-another.safetensors")) == 11


def test_a_sidecar_of_one_version_decides_where_the_model_document_cannot() -> None:
    result = merged(
        source(TWO), source(info(12), "/lib/lantern.civitai.info"), beside=weight("/lib/lantern.safetensors")
    )
    assert result.drafts[0].civitai_version_id == 12


def ambiguous() -> Merged:
    """A weight that could be either of two versions."""
    return merged(source(TWO), beside=weight("/lib/lantern.safetensors", sha256=SHA_C))


def test_ambiguous_is_a_finding_and_never_the_first() -> None:
    result = ambiguous()
    present, *remote = result.drafts
    assert present.civitai_version_id is None
    assert present.version is None
    assert (present.name, present.author_username, present.file_state) == ("Paper Lantern", "mori", "present")
    assert present.trained_words == []
    assert present.primary_file_download_url is None
    assert [draft.civitai_version_id for draft in remote] == [11, 12]
    assert {draft.file_state for draft in remote} == {"remote"}
    (finding,) = result.findings
    assert finding.code is FindingCode.AMBIGUOUS_VERSION
    assert "v1 (11), v2 (12)" in finding.message
    assert finding.data["versions"] == ["v1 (11)", "v2 (12)"]


def test_ambiguous_between_models_takes_nothing_from_either() -> None:
    page = {"items": [model(version(11, files=[])), model(version(12, files=[]), id=8, name="Other")]}
    result = merged(source(page), beside=weight("/lib/mystery.safetensors"), stem="mystery")
    assert result.drafts[0].name == "mystery"
    assert result.drafts[0].author_username is None
    assert [finding.code for finding in result.findings] == [FindingCode.AMBIGUOUS_VERSION]


def test_sidecars_that_disagree_are_a_finding() -> None:
    result = merged(
        source(TWO),
        source(info(11), "/lib/lantern.civitai.info"),
        beside=weight("/lib/lantern.safetensors", sha256=SHA_B),
    )
    assert result.drafts[0].civitai_version_id == 12
    codes = [finding.code for finding in result.findings]
    assert FindingCode.SIDECARS_DISAGREE in codes
    assert "lantern.civitai.info says v1.0 (11)" in result.findings[codes.index(FindingCode.SIDECARS_DISAGREE)].message


@pytest.mark.parametrize(
    ("files", "name"),
    [
        ([file_entry("a.pt", None, primary=False), file_entry("b.safetensors", None, primary=False)], "b.safetensors"),
        ([file_entry("a.safetensors", None, primary=False), file_entry("b.pt", None)], "b.pt"),
        ([file_entry("t.zip", type="Training Data"), file_entry("b.safetensors", None)], "b.safetensors"),
        ([file_entry("v.safetensors", type="VAE"), file_entry("b.pt", None, primary=False)], "b.pt"),
        ([file_entry("first.safetensors", SHA_A), file_entry("second.safetensors", SHA_B)], "second.safetensors"),
    ],
)
def test_the_file_of_a_version(files: list[dict[str, Any]], name: str) -> None:
    result = merged(source(model(version(files=files))), beside=weight(sha256=SHA_B))
    assert result.drafts[0].primary_file_name == name


def test_a_version_without_a_weight_file_is_still_an_adapter() -> None:
    files = [file_entry("data.zip", type="Training Data"), file_entry("grid.zip", type="Archive")]
    result = merged(source(model(version(files=files))))
    assert result.drafts[0].primary_file_name is None
    assert result.drafts[0].file_path == "/lib/Paper Lantern-v1.0.safetensors"
    (finding,) = result.findings
    assert (finding.code, finding.severity) == (FindingCode.NO_WEIGHT_FILE_CLAIMED, "info")
