"""Documents are told apart by their keys, merged ones too, and what is no LoRA is left out with its type."""

from typing import Any

import pytest

from tests.warehouse.civitai.builders import info, model, read, version
from warehouse.civitai import ReasonCode, Shape, Verdict, read_document

PLAIN_A1111 = {"description": "", "sd version": "SD1", "activation text": "x", "preferred weight": 0, "notes": ""}


@pytest.mark.parametrize(
    ("document", "shape"),
    [
        ({"items": [model()], "metadata": {"nextCursor": "x"}}, Shape.PAGE),
        (model(), Shape.MODEL),
        (model(**PLAIN_A1111), Shape.MODEL),
        ({"id": 1, "type": "LORA", "creator": None, "stats": None, "name": "no versions"}, Shape.MODEL),
        (info(), Shape.VERSION),
        ({**info(), "activation text": "x"}, Shape.VERSION),
        ({"id": 1, "modelId": 2, "name": "v1", "trainedWords": []}, Shape.VERSION),
        (PLAIN_A1111, Shape.A1111),
        ({**PLAIN_A1111, "modelId": 5, "modelVersionId": 6, "sha256": "A1" * 32}, Shape.A1111),
        ({"preferred weight": 0.5}, Shape.A1111),
        ({"description": "a", "notes": "b"}, Shape.A1111),
        ({"file_name": "a", "sha256": "a1" * 32, "civitai": {}}, Shape.LORA_MANAGER),
        ({"file_name": "a", "sha256": "", "usage_tips": "{}"}, Shape.LORA_MANAGER),
        ({"ModelId": 1, "VersionId": 2, "ModelName": "A"}, Shape.STABILITY_MATRIX),
        ({"modelspec.title": "A"}, Shape.SWARM),
        ({"file": "a.safetensors", "trainedWords": [{"word": "a"}]}, Shape.RGTHREE),
        ({"file": "a.safetensors", "raw": {"civitai": {}}}, Shape.RGTHREE),
        ({"key": "k", "hash": "blake3:" + "a1" * 32, "base": "sdxl", "type": "lora", "name": "A"}, Shape.INVOKEAI),
        ({"ss_network_dim": "16", "modelspec.title": "A"}, Shape.HEADER_DUMP),
        ({"__metadata__": {"ss_output_name": "a"}}, Shape.HEADER_DUMP),
        ({"sshs_model_hash": "a1" * 32}, Shape.HEADER_DUMP),
        ({"software": {"name": "ai-toolkit"}, "training_info": {"step": 5}}, Shape.HEADER_DUMP),
        ({"id": 1, "name": "A", "type": "LORA", "metrics": {}, "versions": [{"id": 2}]}, Shape.SEARCH_HIT),
    ],
)
def test_shapes(document: dict[str, Any], shape: Shape) -> None:
    reading = read(document)
    assert (reading.shape, reading.verdict) == (shape, Verdict.ACCEPTED)
    assert reading.records


def test_the_suffix_tells_a_civitai_info_from_other_version_documents() -> None:
    reading = read(info(), "lantern.CIVITAI.info")
    assert reading.shape is Shape.CIVITAI_INFO
    assert {record.shape for record in reading.records} == {Shape.CIVITAI_INFO}


@pytest.mark.parametrize("name", ["a.civitai.info", "A.Civitai.Info"])
def test_an_empty_info_says_that_civitai_does_not_know_the_file(name: str) -> None:
    reading = read({}, name)
    assert (reading.verdict, reading.reason_code) == (Verdict.NOT_FOUND, ReasonCode.ASKED_NOT_FOUND)
    assert "not found" in (reading.reason or "")


def test_an_error_answer_is_not_found() -> None:
    reading = read({"error": "Model not found"}, "a.json")
    assert reading.verdict is Verdict.NOT_FOUND
    assert "Model not found" in (reading.reason or "")


def test_other_empty_and_foreign_documents_are_left_out() -> None:
    assert read({}).reason_code is ReasonCode.EMPTY_DOCUMENT
    foreign = read({"dependencies": {}, "devDependencies": {}, "scripts": {}})
    assert (foreign.verdict, foreign.reason_code) == (Verdict.LEFT_OUT, ReasonCode.NOT_ADAPTER_METADATA)
    assert "devDependencies" in (foreign.reason or "")


@pytest.mark.parametrize("type_name", ["LORA", "LoCon", "LyCORIS", "DoRA", "lora", " Locon "])
def test_the_lora_family_is_taken(type_name: str) -> None:
    assert read(model(type=type_name)).verdict is Verdict.ACCEPTED


@pytest.mark.parametrize(
    "document",
    [
        model(type="Checkpoint"),
        info(model={"name": "A", "type": "Checkpoint"}),
        {"ModelId": 1, "VersionId": 2, "ModelType": "Checkpoint"},
        {"file_name": "a", "sha256": "", "civitai": {"model": {"type": "Checkpoint"}}},
        {"file": "a", "raw": {"civitai": {"model": {"type": "Checkpoint"}}}},
        {"key": "k", "hash": "h", "base": "sdxl", "type": "Checkpoint"},
        {"items": [model(type="Checkpoint")]},
        {"id": 1, "modelId": 2, "files": [], "air": "urn:air:sdxl:Checkpoint:civitai:2@1"},
        {"id": 1, "name": "A", "type": "Checkpoint", "metrics": {}, "versions": []},
    ],
)
def test_what_is_no_lora_is_left_out_with_its_type(document: dict[str, Any]) -> None:
    reading = read(document)
    assert (reading.verdict, reading.reason_code) == (Verdict.LEFT_OUT, ReasonCode.NOT_A_LORA)
    assert "Checkpoint" in (reading.reason or "")


@pytest.mark.parametrize(
    ("architecture", "verdict"),
    [
        ("stable-diffusion-xl-v1-base/lora", Verdict.ACCEPTED),
        ("flux-1-dev/lora", Verdict.ACCEPTED),
        ("stable-diffusion-xl-v1-base", Verdict.LEFT_OUT),
        ("stable-diffusion-v1/textual-inversion", Verdict.LEFT_OUT),
        ("stable-diffusion-v1/controlnet", Verdict.LEFT_OUT),
    ],
)
def test_modelspec_architectures(architecture: str, verdict: Verdict) -> None:
    assert read({"modelspec.architecture": architecture, "modelspec.title": "A"}).verdict is verdict


def test_a_page_keeps_its_loras_and_notes_the_rest() -> None:
    reading = read({"items": [model(), model(id=8, type="VAE"), "text", {"odd": 1}, model(version(99), id=9)]})
    assert [record.version_id for record in reading.records] == [11, 99]
    notes = {complaint.path: complaint.message for complaint in reading.complaints}
    assert "VAE" in notes["$.items[1]"]
    assert set(notes) == {"$.items[1]", "$.items[2]", "$.items[3]"}


def test_an_empty_page_is_left_out() -> None:
    assert read({"items": [], "metadata": {}}).reason_code is ReasonCode.EMPTY_PAGE


def test_a_missing_type_is_noted_and_taken() -> None:
    document = model()
    del document["type"]
    reading = read(document)
    assert reading.verdict is Verdict.ACCEPTED
    assert [complaint.code for complaint in reading.complaints] == ["type_missing"]


def test_the_file_name_in_a_reason_is_the_one_given() -> None:
    assert (read_document(b"{", file_name="夜.json").reason or "").startswith("夜.json: ")
