"""Real documents of three generations: every LoRA is taken, every other kind left out, and the values make sense."""

from collections import Counter
from pathlib import Path

import pytest

from warehouse.civitai import AdapterDraft, BundleFacts, Reading, Shape, Source, Verdict, merge, read_document


def readings(folder: Path) -> dict[str, Reading]:
    """Every document of a folder, by file name."""
    return {path.name: read_document(path.read_bytes(), file_name=path.name) for path in sorted(folder.iterdir())}


def drafts_of(stem: str, found: dict[str, Reading]) -> list[AdapterDraft]:
    """The adapters of documents that share a stem, without a weight."""
    sources = [
        Source(path=f"/lib/{name}", mtime_ns=1_700_000_000_000_000_000, size=1, reading=reading)
        for name, reading in found.items()
    ]
    return merge(BundleFacts(directory="/lib", stem=stem, sources=sources)).drafts


@pytest.mark.parametrize(
    ("folder", "shapes"),
    [
        ("api_model", {Shape.MODEL}),
        ("edge_masked", {Shape.MODEL}),
        ("civitai_info", {Shape.CIVITAI_INFO}),
        ("a1111_json", {Shape.A1111}),
        ("model_version", {Shape.VERSION}),
        ("lora_manager_civitai_subobject", {Shape.VERSION}),
        ("api_page_trimmed", {Shape.PAGE}),
        ("ss_metadata", {Shape.HEADER_DUMP}),
    ],
)
def test_every_lora_is_taken(corpus: Path, folder: str, shapes: set[Shape]) -> None:
    found = readings(corpus / folder)
    assert found
    assert {reading.verdict for reading in found.values()} == {Verdict.ACCEPTED}
    assert {reading.shape for reading in found.values()} == shapes
    for name, reading in found.items():
        assert drafts_of(name, {name: reading}), name
        if folder != "api_page_trimmed":
            assert reading.complaints == (), name


@pytest.mark.parametrize("folder", ["decoy_non_lora", "site_search_hit"])
def test_every_other_kind_is_left_out_with_its_type(corpus: Path, folder: str) -> None:
    for name, reading in readings(corpus / folder).items():
        assert (reading.verdict, reading.reason_code) == (Verdict.LEFT_OUT, "not_a_lora"), name
        if "__" in name:
            stated = name.split("__")[1].split(".")[0]
            assert stated in (reading.reason or ""), name


def test_values_of_the_model_records(corpus: Path) -> None:
    drafts = [
        draft
        for name, reading in readings(corpus / "api_model").items()
        for draft in drafts_of(name.removesuffix(".json"), {name: reading})
    ]
    assert len({draft.source_key for draft in drafts}) == len(drafts)
    assert len(drafts) > 1400
    for draft in drafts:
        assert draft.civitai_model_id
        assert draft.civitai_version_id
        assert draft.author_username
        assert draft.base_model
        assert draft.sd_version
        assert draft.primary_file_name
        assert draft.primary_file_sha256
        assert draft.primary_file_size_kb
        assert draft.downloads is not None
        assert draft.file_state == "remote"
        assert draft.licence is not None
        assert draft.licence["allow_commercial_use"] is not None
        assert draft.description is None or "<script" not in draft.description
        assert draft.description_text is None or "&nbsp;" not in draft.description_text
    archetypes = Counter(draft.archetype for draft in drafts)
    assert archetypes[None] < len(drafts) * 0.05
    assert len(archetypes) >= 10
    assert sum(bool(draft.examples) for draft in drafts) > len(drafts) * 0.7
    assert sum(bool(draft.published_at) for draft in drafts) > len(drafts) * 0.85
    assert all(draft.rating is None or 0 < draft.rating <= 5 for draft in drafts)


def test_infos_meet_their_user_metadata(corpus: Path) -> None:
    infos = readings(corpus / "civitai_info")
    kept = readings(corpus / "a1111_json")
    pairs = 0
    for name, reading in infos.items():
        stem = name.removesuffix(".civitai.info")
        found = {name: reading}
        if f"{stem}.json" in kept:
            found[f"{stem}.json"] = kept[f"{stem}.json"]
            pairs += 1
        (draft,) = drafts_of(stem, found)
        assert draft.name != stem or reading.records[0].model.name == stem
        if len(found) == 2:
            assert draft.provenance["sd_version"] == f"/lib/{stem}.json"
            assert draft.author_username
    assert pairs == len(kept)
