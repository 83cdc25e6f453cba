"""Between documents the better source wins field by field, says so, and claims are held against what was measured."""

import msgspec
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
from warehouse.civitai import FindingCode, Severity
from warehouse.safetensors import HeaderFacts

INFO = "/lib/lantern.civitai.info"
MATRIX = "/lib/lantern.cm-info.json"
MANAGER = "/lib/lantern.metadata.json"
A1111 = "/lib/lantern.json"
DUMP = "/lib/model_dict.json"

HEADER = HeaderFacts(
    network_type="lora",
    rank=16,
    alpha=8.0,
    base_model="SD 1.5",
    base_model_confidence=0.99,
    base_model_evidence="cross-attention of width 768",
    title="lantern_v1",
    author="trainer",
    description="trained at night",
    license="CC0",
    usage_hint="use 0.5",
    trigger_phrase="glow; dim",
    modelspec_tags=["light"],
    training_tags={"glow": 5, "1girl": 9},
    resolution="512x512",
    training={"epochs": 10},
)


def manager(**changes: object) -> dict[str, object]:
    """A LoRA Manager document about version 11."""
    return {
        "file_name": "lantern",
        "model_name": "by manager",
        "sha256": SHA_A,
        "usage_tips": "{}",
        "civitai": {"id": 11, "modelId": 7, "name": "manager's", "baseModel": "Pony"},
        **changes,
    }


def test_the_order_of_sources() -> None:
    matrix = {"ModelId": 7, "VersionId": 11, "ModelName": "by matrix", "VersionName": "m", "AuthorUsername": "kiku"}
    documents = {
        DUMP: source(model(name="by dump"), DUMP),
        MANAGER: source(manager(), MANAGER),
        INFO: source(info(model={"name": "by info", "type": "LORA"}), INFO),
        MATRIX: source(matrix, MATRIX),
    }
    matched, unmatched = weight(sha256=SHA_A), weight()
    assert merged(*documents.values(), beside=matched).drafts[0].name == "by dump"
    assert merged(*documents.values(), beside=unmatched).drafts[0].name == "by manager"
    del documents[MANAGER]
    assert merged(*documents.values(), beside=unmatched).drafts[0].name == "by info"
    del documents[INFO], documents[DUMP]
    assert merged(*documents.values(), beside=unmatched).drafts[0].name == "by matrix"


def test_what_a_person_keeps_comes_before_everything() -> None:
    result = merged(
        source(model(**{"preferred weight": 0.1, "notes": "of the dump"}), DUMP),
        source(manager(notes="of the manager", usage_tips='{"strength": 0.2}', favorite=True), MANAGER),
        source({"activation text": "", "preferred weight": 0.3, "notes": ""}, A1111),
        source({"ModelId": 7, "VersionId": 11, "UserTitle": "Mine"}, MATRIX),
        beside=weight(sha256=SHA_A),
    ).drafts[0]
    assert (result.name, result.weight, result.notes, result.favorite) == ("Mine", 0.3, "of the manager", True)
    assert result.provenance["name"] == MATRIX
    assert result.provenance["weight"] == A1111
    assert result.provenance["notes"] == MANAGER


def test_empty_never_replaces_what_is_there() -> None:
    empty = model(
        version(name="", trainedWords=[], baseModel=" ", description="<p></p>", images=[], stats={}),
        name="",
        description="<p>&nbsp;<br></p>",
        tags=[],
        creator={"username": ""},
        allowNoCredit=None,
    )
    result = merged(
        source(empty, DUMP),
        source(info(model={"name": "Lantern", "type": "LORA", "description": "text", "tags": ["t"]}), INFO),
        beside=weight(sha256=SHA_A),
    ).drafts[0]
    assert (result.name, result.version, result.base_model, result.tags) == ("Lantern", "v1.0", "SDXL 1.0", ["t"])
    assert result.trained_words == ["paper lantern, glowing", "lantern festival"]
    assert result.description_text == "text\n\nFirst release"
    assert len(result.examples) == 1
    for field in ("name", "version", "base_model", "tags", "trained_words", "description", "examples", "downloads"):
        assert result.provenance.get(field, INFO) == INFO


def test_of_two_equal_sources_the_newer_counts() -> None:
    result = merged(
        source(info(11, name="old"), "/lib/a.civitai.info", mtime_ns=1),
        source(info(11, name="new"), "/lib/b.civitai.info", mtime_ns=2),
        beside=weight(),
    )
    assert [draft.version for draft in result.drafts] == ["new"]


def test_every_version_is_an_adapter_and_only_one_is_here() -> None:
    document = model(
        version(11, "v1", files=[file_entry("one.safetensors", SHA_A)]),
        version(12, "v2", files=[file_entry("two.safetensors", SHA_B)]),
        version(13, "v3", files=[]),
        **{"activation text": "mine"},
    )
    present, *remote = merged(source(document), beside=weight("/lib/two.safetensors"), stem="two").drafts
    assert (present.source_key, present.version, present.file_state) == ("file:/lib/two.safetensors", "v2", "present")
    assert present.primary_file_local_path == "/lib/two.safetensors"
    assert present.activation_text == "mine"
    assert [draft.source_key for draft in remote] == [
        "/lib/lantern.json#civitai:7@11",
        "/lib/lantern.json#civitai:7@13",
    ]
    assert [draft.file_path for draft in remote] == ["/lib/one.safetensors", "/lib/Paper Lantern-v3.safetensors"]
    assert {draft.primary_file_local_path for draft in remote} == {None}
    assert remote[0].activation_text == "paper lantern, glowing", "what a person keeps is about the file that is here"


def test_a_document_alone_gives_remote_adapters() -> None:
    drafts = merged(source(model(version(11), version(12, "v2")), "/lib/sub/x.json")).drafts
    assert [draft.file_state for draft in drafts] == ["remote", "remote"]
    assert [draft.file_path for draft in drafts] == ["/lib/lantern.safetensors", "/lib/lantern-12.safetensors"]


def test_a_remote_file_never_takes_the_path_of_one_that_is_here() -> None:
    document = model(version(11), version(12, files=[file_entry(sha256=SHA_B)]))
    present, remote = merged(source(document), beside=weight(sha256=SHA_B)).drafts
    assert (present.file_path, remote.file_path) == ("/lib/lantern.safetensors", "/lib/lantern-11.safetensors")


@pytest.mark.parametrize(
    ("stated", "path"),
    [
        ("../../etc/x.safetensors", "/lib/x.safetensors"),
        ("C:\\loras\\x.safetensors", "/lib/x.safetensors"),
        ("/x.safetensors", "/lib/x.safetensors"),
        ("..", "/lib/Paper Lantern-v1.0.safetensors"),
        ("夜の提灯.safetensors", "/lib/夜の提灯.safetensors"),
        ("x" * 300 + ".safetensors", "/lib/Paper Lantern-v1.0.safetensors"),
    ],
)
def test_a_stated_file_name_stays_inside_the_folder(stated: str, path: str) -> None:
    assert merged(source(model(version(files=[file_entry(stated)])))).drafts[0].file_path == path


def test_info_and_user_metadata_without_their_weight() -> None:
    (result,) = merged(
        source(info(files=[]), INFO), source({"activation text": "mine", "preferred weight": 0.4}, A1111)
    ).drafts
    assert (result.name, result.activation_text, result.weight) == ("Paper Lantern", "mine", 0.4)
    assert (result.file_path, result.file_state) == ("/lib/lantern.safetensors", "remote")
    assert (result.json_file_path, result.json_file_size) == (INFO, source(info(files=[]), INFO).size)


def test_user_metadata_alone() -> None:
    (result,) = merged(source({"activation text": "mine"}, A1111)).drafts
    assert (result.name, result.file_state, result.file_path) == ("lantern", "remote", "/lib/lantern.safetensors")
    assert result.provenance["name"] == "file"


def test_user_metadata_beside_several_versions_belongs_to_none_for_certain() -> None:
    result = merged(
        source(model(version(11, files=[]), version(12, files=[])), DUMP),
        source({"activation text": "mine", "preferred weight": 1}, A1111),
    )
    assert [draft.civitai_version_id for draft in result.drafts] == [11, 12]
    assert {draft.weight for draft in result.drafts} == {None}
    assert [finding.code for finding in result.findings] == [FindingCode.AMBIGUOUS_VERSION]


def test_a_weight_alone_is_an_adapter_from_its_header() -> None:
    result = merged(beside=weight(header=HEADER, sha256=SHA_C)).drafts[0]
    assert (result.name, result.version, result.author_username) == ("lantern_v1", None, "trainer")
    assert (result.description_text, result.tags, result.notes) == ("trained at night", ["light"], "use 0.5")
    assert (result.trained_words, result.activation_text) == (["glow", "dim"], "glow")
    assert (result.base_model, result.sd_version) == ("SD 1.5", "SD1")
    assert (result.primary_file_name, result.primary_file_size_kb) == ("lantern.safetensors", 1024.5)
    assert result.primary_file_sha256 == SHA_C
    assert result.licence is not None
    assert result.licence["text"] == "CC0"
    assert (result.extra["rank"], result.extra["alpha"], result.extra["network_type"]) == (16, 8.0, "lora")
    assert list(result.extra["training_tags"]) == ["1girl", "glow"]
    assert (result.published_at, result.visibility, result.json_file_path) == (None, "Public", None)
    assert result.provenance["name"] == "header"
    assert result.provenance["primary_file_sha256"] == "file"


def test_a_weight_that_says_nothing_is_named_after_its_file() -> None:
    result = merged(beside=weight()).drafts[0]
    assert (result.name, result.base_model, result.description, result.archetype) == ("lantern", None, None, None)


def test_documents_come_before_the_header() -> None:
    result = merged(source(model(), DUMP), beside=weight(header=HEADER)).drafts[0]
    assert (result.name, result.author_username, result.base_model) == ("Paper Lantern", "mori", "SDXL 1.0")
    assert result.extra["rank"] == 16


def test_an_invalid_weight_still_appears() -> None:
    result = merged(source(model()), beside=weight(problem="truncated_data")).drafts[0]
    assert (result.name, result.file_state) == ("Paper Lantern", "invalid")


def test_a_quarantined_sidecar_costs_nothing_else() -> None:
    broken = source(model(), DUMP)
    broken = msgspec.structs.replace(broken, reading=source([1], DUMP).reading)
    result = merged(broken, beside=weight(header=HEADER))
    assert [draft.name for draft in result.drafts] == ["lantern_v1"]
    assert result.findings == []


def test_claims_are_kept_and_contradictions_found() -> None:
    result = merged(source(model(), DUMP), beside=weight(sha256=SHA_C))
    assert result.drafts[0].primary_file_sha256 == SHA_A
    (finding,) = result.findings
    assert (finding.code, finding.severity) == (FindingCode.SHA256_MISMATCH, Severity.WARNING)
    assert finding.data == {"document": DUMP, "claimed": [SHA_A], "measured": SHA_C}


def test_the_same_weights_under_another_header_are_a_mild_contradiction() -> None:
    entry = file_entry(hashes={"SHA256": SHA_A, "AutoV3": SHA_B[:12]})
    result = merged(source(model(version(files=[entry]))), beside=weight(sha256=SHA_C, payload_sha256=SHA_B))
    assert [(finding.code, finding.severity) for finding in result.findings] == [
        (FindingCode.SHA256_MISMATCH, Severity.INFO)
    ]


def test_a_claim_about_the_tensors_is_held_against_the_tensors() -> None:
    document = {"modelspec.title": "a", "modelspec.hash_sha256": "0x" + SHA_A}
    assert merged(source(document), beside=weight(sha256=SHA_C, payload_sha256=SHA_A)).findings == []
    result = merged(source(document), beside=weight(sha256=SHA_A, payload_sha256=SHA_B))
    assert [finding.code for finding in result.findings] == [FindingCode.PAYLOAD_HASH_MISMATCH]


def test_the_base_model_of_the_tensors_is_held_against_the_documents() -> None:
    result = merged(source(model(), DUMP), beside=weight(header=HEADER))
    (finding,) = result.findings
    assert finding.code is FindingCode.BASE_MODEL_MISMATCH
    assert "SDXL 1.0" in finding.message
    assert "cross-attention of width 768" in finding.message


@pytest.mark.parametrize("stated", ["SD 1.5", "SD 1.4", "Other", None])
def test_base_models_that_do_not_contradict(stated: str | None) -> None:
    result = merged(source(model(version(baseModel=stated)), DUMP), beside=weight(header=HEADER))
    assert result.findings == []


def test_a_weight_whose_document_says_that_it_is_no_lora() -> None:
    checkpoint = source(model(type="Checkpoint"), DUMP)
    result = merged(checkpoint, beside=weight())
    assert result.drafts == []
    assert [(finding.code, finding.severity) for finding in result.findings] == [
        (FindingCode.NOT_A_LORA, Severity.INFO)
    ]
    contradicted = merged(checkpoint, beside=weight(header=HEADER))
    assert [draft.name for draft in contradicted.drafts] == ["lantern_v1"]
    assert [finding.code for finding in contradicted.findings] == [FindingCode.DOCUMENT_SAYS_NOT_A_LORA]


def test_user_metadata_beside_a_checkpoint_is_no_adapter() -> None:
    result = merged(source(info(model={"type": "Checkpoint"}), INFO), source({"activation text": "x"}, A1111))
    assert (result.drafts, result.findings) == ([], [])


def test_what_is_indexed_is_bounded() -> None:
    document = model(
        version(name="v" * 9000, trainedWords=["w" * 9_999] * 299),
        name="夜" * 9000,
        tags=["t" * 9000, *map(str, range(900))],
        creator={"username": "u" * 9000},
    )
    (result,) = merged(source(document)).drafts
    assert len((result.name + (result.version or "")).encode()) < 2704
    assert len(result.author_username or "") == 200
    assert len(result.tags) == 500
    assert max(map(len, result.tags)) == 200
    assert len(result.trained_words[0]) == 4000
    assert result.extra["original_name"] == "夜" * 9000


def test_a_file_name_of_broken_bytes_can_be_stored() -> None:
    (result,) = merged(beside=weight("/lib/x.safetensors"), stem="bro\udcffken").drafts
    assert (result.name, result.extra["original_name"]) == ("bro-ken", "bro\\udcffken")


def test_derived_fields_name_the_source_of_what_they_derive_from() -> None:
    (result,) = merged(source(model(), DUMP)).drafts
    for field in ("canonical_version_name", "description_text", "triggers", "activation_text", "downloads", "likes"):
        assert result.provenance[field] == DUMP
    assert "rating" not in result.provenance


@pytest.mark.parametrize("here", [True, False])
def test_what_a_person_keeps_outlives_a_stale_version_number(*, here: bool) -> None:
    stale = {"activation text": "mine", "preferred weight": 0.4, "modelId": 7, "modelVersionId": 99}
    result = merged(source(model(), DUMP), source(stale, A1111), beside=weight(sha256=SHA_A) if here else None)
    drafts = {draft.civitai_version_id: draft for draft in result.drafts}
    assert (drafts[11].activation_text, drafts[11].weight, drafts[99].weight) == ("mine", 0.4, None)


def test_nothing_gives_nothing() -> None:
    assert merged().drafts == []


def test_keys_are_stable_whatever_the_order_of_the_documents() -> None:
    sources = [
        source(model(version(11), version(12)), DUMP),
        source(manager(), MANAGER),
        source(info(12), INFO),
        source({"activation text": "x"}, A1111),
    ]
    first = merged(*sources)
    second = merged(*reversed(sources))
    assert {draft.source_key: draft for draft in first.drafts} == {draft.source_key: draft for draft in second.drafts}


def test_the_content_digest_covers_what_vectors_derive_from() -> None:
    def digest(document: dict[str, object]) -> str:
        return merged(source(document)).drafts[0].content_digest

    base = digest(model())
    assert len(base) == 32
    assert digest(model(stats={"downloadCount": 1}, allowNoCredit=None)) == base
    assert digest(model(version(stats=None, nsfwLevel=4, downloadUrl=None))) == base
    for changed in (
        model(name="Other"),
        model(tags=["other"]),
        model(description="<p>other</p>"),
        model(version(baseModel="Pony")),
        model(version(trainedWords=["other"])),
        model(version(images=[{"url": "x", "meta": {"prompt": "other"}}])),
    ):
        assert digest(changed) != base


def test_drafts_are_plain_data() -> None:
    (result,) = merged(source(model())).drafts
    encoded = msgspec.json.encode(result)
    assert msgspec.json.decode(encoded)["examples"][0]["url"] == "https://image.example/1.png"
    assert msgspec.json.decode(encoded)["file_state"] == "remote"


def test_a_weight_without_adapter_tensors_is_listed_and_told() -> None:
    checkpoint = HeaderFacts(tensor_count=686, base_model="SD 1.5", base_model_confidence=0.9)
    result = merged(beside=weight(header=checkpoint))
    assert [(finding.code, finding.severity) for finding in result.findings] == [
        (FindingCode.NO_ADAPTER_TENSORS, Severity.WARNING)
    ]
    assert "686 tensors" in result.findings[0].message
    assert [draft.file_state for draft in result.drafts] == ["present"]
    unread = merged(beside=weight(header=HeaderFacts()))
    assert unread.findings == []
