"""Oddities of the API's documents from 2023 to 2026, each on the smallest document that shows it."""

from datetime import UTC, datetime
from typing import Any

import pytest

from tests.warehouse.civitai.builders import file_entry, merged, model, read, source, version
from warehouse.civitai import AdapterDraft, ComplaintCode, Verdict


def draft(document: dict[str, Any]) -> AdapterDraft:
    """The single draft of a document that stands alone."""
    drafts = merged(source(document)).drafts
    assert len(drafts) == 1
    return drafts[0]


@pytest.mark.parametrize(
    ("stated", "canonical"),
    [
        (["Image", "RentCivit", "Rent", "Sell"], ["Image", "RentCivit", "Rent", "Sell"]),
        (["Sell", "Image"], ["Image", "Sell"]),
        ([], []),
        (["None"], []),
        ("{Image,RentCivit}", ["Image", "RentCivit"]),
        ('{"Rent",Image}', ["Image", "Rent"]),
        ("{}", []),
        ("None", []),
        ("Image", ["Image"]),
        ("Rent", ["Image", "RentCivit", "Rent"]),
        ("Sell", ["Image", "RentCivit", "Rent", "Sell"]),
    ],
)
def test_commercial_use_in_four_spellings(stated: Any, canonical: list[str]) -> None:
    licence = draft(model(allowCommercialUse=stated)).licence
    assert licence is not None
    assert licence["allow_commercial_use"] == canonical


@pytest.mark.parametrize("stated", ["Perhaps", 7, ["Image", "Lend"], {"Image": True}, True])
def test_commercial_use_that_is_not_understood_stays_unknown(stated: Any) -> None:
    reading = read(model(allowCommercialUse=stated))
    assert reading.records[0].model.licence.allow_commercial_use is None
    assert [complaint.path for complaint in reading.complaints] == ["$.allowCommercialUse"]


def test_an_absent_licence_is_unknown_not_forbidden() -> None:
    document = model()
    for key in ("allowNoCredit", "allowCommercialUse", "allowDerivatives", "allowDifferentLicense"):
        del document[key]
    assert draft(document).licence is None
    assert draft(model(allowCommercialUse=None, allowDerivatives=None)).licence == {
        "allow_no_credit": True,
        "allow_commercial_use": None,
        "allow_derivatives": None,
        "allow_different_license": True,
        "text": None,
    }


def test_statistics_of_2023() -> None:
    old = model(
        version(stats={"downloadCount": 5, "ratingCount": 2, "rating": 4.58}),
        stats={"downloadCount": 9, "favoriteCount": 3, "commentCount": 1, "ratingCount": 2, "rating": 4.5},
    )
    result = draft(old)
    assert (result.downloads, result.likes, result.rating) == (5, 3, 4.58)
    assert result.stats["commentCount"] == 1


def test_statistics_of_2025() -> None:
    result = draft(model())
    assert (result.downloads, result.likes, result.rating) == (120, 30, None)


@pytest.mark.parametrize("stats", [None, {}, "odd", {"downloadCount": None}, {"downloadCount": "many"}])
def test_missing_statistics_are_unknown(stats: Any) -> None:
    result = draft(model(version(stats=stats), stats=stats))
    assert (result.downloads, result.likes, result.rating, result.stats) == (None, None, None, {})


def test_a_rating_of_nobody_is_unknown() -> None:
    assert draft(model(version(stats={"ratingCount": 0, "rating": 0}))).rating is None
    assert draft(model(version(stats={"ratingCount": 0, "rating": 5}))).rating is None


@pytest.mark.parametrize(
    ("images", "level"),
    [
        ([{"url": "a", "nsfw": "None"}], 1),
        ([{"url": "a", "nsfw": "None"}, {"url": "b", "nsfw": "Soft"}], 3),
        ([{"url": "a", "nsfw": "Mature"}, {"url": "b", "nsfw": "X"}], 12),
        ([{"url": "a", "nsfw": False}], 1),
        ([{"url": "a", "nsfw": True}], 0),
        ([{"url": "a", "nsfwLevel": 16}], 16),
        ([{"url": "a", "nsfwLevel": "odd"}], 0),
        ([{}, {}], 0),
        ([], 0),
        (None, 0),
    ],
)
def test_levels_of_old_images_add_up(images: Any, level: int) -> None:
    document = model(version(images=images, nsfwLevel=None), nsfwLevel=None)
    result = draft(document)
    assert result.nsfw_level == level
    assert ("nsfw_level" in result.provenance) == (level > 0)


def test_a_stated_level_wins_over_the_images() -> None:
    assert draft(model(version(nsfwLevel=5))).nsfw_level == 5
    assert draft(model(version(nsfwLevel=None), nsfwLevel=7)).nsfw_level == 7


def test_tags_as_texts_or_as_objects() -> None:
    assert draft(model(tags=["Lantern", "lantern", " ", "night "])).tags == ["Lantern", "night"]
    assert draft(model(tags=[{"name": "lantern"}, {"name": None}, {"id": 3}, "night"])).tags == ["lantern", "night"]
    assert draft(model(tags=None)).tags == []


@pytest.mark.parametrize("words", [None, [], [""], [" "]])
def test_no_trained_words(words: Any) -> None:
    result = draft(model(version(trainedWords=words)))
    assert (result.trained_words, result.triggers, result.activation_text) == ([], [], None)


def test_files_without_hashes() -> None:
    unknown: list[Any] = [{}, None]
    for hashes in unknown:
        result = draft(model(version(files=[file_entry(hashes=hashes)])))
        assert result.primary_file_sha256 is None
        assert result.primary_file_name == "lantern.safetensors"


@pytest.mark.parametrize("value", ["e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855", "xyz", "a1", ""])
def test_hashes_that_are_none_are_ignored(value: str) -> None:
    reading = read(model(version(files=[file_entry(hashes={"SHA256": value, "CRC32": "2C10D575"})])))
    assert reading.records[0].version is not None
    assert reading.records[0].version.files[0].hashes == {"crc32": "2c10d575"}
    assert [complaint.code for complaint in reading.complaints] == ([ComplaintCode.BAD_HASH] if value else [])


def test_a_model_without_versions_is_an_adapter_of_itself() -> None:
    empty: list[Any] = [[], None]
    for versions in empty:
        document = model()
        document["modelVersions"] = versions
        result = draft(document)
        assert (result.name, result.version, result.file_state) == ("Paper Lantern", None, "remote")
        assert result.file_path == "/lib/Paper Lantern.safetensors"


def test_an_archived_model_lists_no_files() -> None:
    result = draft(model(version(files=[], images=[], downloadUrl=None), mode="Archived"))
    assert result.extra["mode"] == "Archived"
    assert result.primary_file_name is None
    assert result.primary_file_download_url is None
    assert result.file_path == "/lib/Paper Lantern-v1.0.safetensors"


def test_a_model_that_was_taken_down_shows_no_images() -> None:
    result = draft(model(version(images=[]), mode="TakenDown"))
    assert (result.extra["mode"], result.examples) == ("TakenDown", [])


@pytest.mark.parametrize("creator", [None, {}, {"username": None}, {"username": ""}])
def test_no_creator(creator: Any) -> None:
    assert draft(model(creator=creator)).author_username is None


@pytest.mark.parametrize(("stated", "number"), [("7", 7), (7.0, 7), (0, None), (-3, None), (2**70, None), ("x", None)])
def test_numbers_of_models_in_many_spellings(stated: Any, number: int | None) -> None:
    assert draft(model(id=stated)).civitai_model_id == number


def test_times() -> None:
    assert draft(model()).published_at == datetime(2025, 3, 1, 10, tzinfo=UTC)
    created = draft(model(version(publishedAt=None)))
    assert created.published_at == datetime(2025, 2, 28, 10, tzinfo=UTC)
    assert draft(model(version(publishedAt="2025-03-01T12:00:00+02:00"))).published_at == datetime(
        2025, 3, 1, 10, tzinfo=UTC
    )


@pytest.mark.parametrize("stated", ["yesterday", "0001-01-01T00:00:00+23:59", "2025-99-01", 5, []])
def test_times_that_are_none(stated: Any) -> None:
    reading = read(model(version(publishedAt=stated, createdAt=None)))
    assert reading.records[0].version is not None
    assert reading.records[0].version.published_at is None
    assert [complaint.path for complaint in reading.complaints] == ["$.modelVersions[0].publishedAt"]


def test_availability_of_the_version_comes_first() -> None:
    assert draft(model(version(availability="EarlyAccess"))).visibility == "EarlyAccess"
    assert draft(model(version(availability=None), availability="Private")).visibility == "Private"
    assert draft(model(version(availability=None), availability=None)).visibility == "Public"


def test_generation_support_of_the_version_comes_first() -> None:
    assert draft(model(version(supportsGeneration=True), supportsGeneration=False)).supports_generation is True
    assert draft(model(version(supportsGeneration=False), supportsGeneration=True)).supports_generation is False
    assert draft(model(supportsGeneration=True)).supports_generation is True
    assert draft(model()).supports_generation is False


@pytest.mark.parametrize(
    ("base_model", "family"),
    [
        ("SD 1.4", "SD1"), ("SD 1.5", "SD1"), ("SD 1.5 LCM", "SD1"), ("SD 2.0", "SD2"), ("SD 2.1 768", "SD2"),
        ("SDXL 1.0", "SDXL"), ("SDXL Turbo", "SDXL"), ("Pony", "SDXL"), ("Illustrious", "SDXL"), ("NoobAI", "SDXL"),
        ("SD 3.5 Large", "SD3"), ("SD 3", "SD3"), ("Flux.1 D", "Other"), ("Other", "Other"), ("Pony V7", "Other"),
        (None, None), ("", None), ("Unknown", None),
    ],
)  # fmt: skip
def test_families_of_base_models(base_model: str | None, family: str | None) -> None:
    assert draft(model(version(baseModel=base_model))).sd_version == family


def test_generation_data_of_examples() -> None:
    image = {
        "url": "https://image.example/2.png",
        "nsfw": "Soft",
        "width": 512,
        "height": 768,
        "meta": {
            "prompt": "a lantern <lora:lantern:0.8>",
            "negativePrompt": "blurry",
            "sampler": "Euler a",
            "steps": 20,
            "cfgScale": 7.5,
            "seed": 2731361566,
            "Clip skip": "2",
            "resources": [{"name": "lantern", "type": "lora", "weight": 0.8}, {"type": None}],
            "civitaiResources": [{"modelVersionId": 11, "type": "lora"}],
        },
    }
    example = draft(model(version(images=[image, {"url": "x", "meta": None}, "odd"]))).examples[0]
    assert (example.prompt, example.negative_prompt) == ("a lantern <lora:lantern:0.8>", "blurry")
    assert (example.sampler, example.steps, example.cfg_scale, example.seed) == ("Euler a", 20, 7.5, 2731361566)
    assert (example.width, example.height, example.nsfw_level, example.clip_skip) == (512, 768, 2, 2)
    assert example.resources == (
        {"name": "lantern", "type": "lora", "weight": 0.8},
        {"type": "lora", "version_id": 11},
    )


def test_generation_data_wrapped_once_more() -> None:
    image = {"url": "x", "meta": {"id": 5, "meta": {"prompt": "inner", "clipSkip": 1}}}
    example = draft(model(version(images=[image]))).examples[0]
    assert (example.prompt, example.clip_skip) == ("inner", 1)


def test_unknown_keys_are_kept() -> None:
    result = draft(model(version(covered=True, status="Published"), _processing={"at": 1.5}, userId=4, cosmetic=None))
    assert result.extra["_processing"] == {"at": 1.5}
    assert (result.extra["userId"], result.extra["covered"], result.extra["status"]) == (4, True, "Published")
    assert "cosmetic" not in result.extra


def test_wrong_types_cost_one_field_each() -> None:
    document = model(
        version(name=5, trainedWords={"a": 1}, files="none", images=3, baseModel=["SD 1.5"], nsfwLevel="high"),
        name=["x"],
        description=7,
        tags="lantern",
        creator="mori",
        nsfw="no",
        stats=[1],
    )
    reading = read(document)
    assert reading.verdict is Verdict.ACCEPTED
    paths = {complaint.path for complaint in reading.complaints}
    assert paths == {
        "$.name", "$.description", "$.creator", "$.nsfw", "$.stats", "$.modelVersions[0].name",
        "$.modelVersions[0].trainedWords", "$.modelVersions[0].files", "$.modelVersions[0].images",
        "$.modelVersions[0].baseModel", "$.modelVersions[0].nsfwLevel",
    }  # fmt: skip
    assert all("left empty" in complaint.message for complaint in reading.complaints)
    result = draft(document)
    assert (result.name, result.tags, result.civitai_version_id) == ("lantern", ["lantern"], 11)


def test_complaints_are_bounded() -> None:
    reading = read(model(version(images=[{"width": "wide"}] * 500)))
    assert len(reading.complaints) == 101
    assert reading.complaints[-1].code is ComplaintCode.TOO_MANY


def test_versions_are_bounded() -> None:
    reading = read(model(*({"id": number} for number in range(1, 2500))))
    assert len(reading.records) == 2000
    assert [(complaint.code, complaint.path) for complaint in reading.complaints] == [
        (ComplaintCode.TOO_MANY, "$.modelVersions")
    ]


def test_large_unknown_values_stay_in_the_raw_document() -> None:
    reading = read(model(odd=["x"] * 50_000, note="y" * 70_000, fine=["x"] * 100, big=2**80))
    assert [complaint.path for complaint in reading.complaints] == ["$.odd", "$.note"]
    assert reading.records[0].model.extra == {"fine": ["x"] * 100, "big": str(2**80)}


def test_a1111_keys_inside_a_model_document_are_read() -> None:
    result = draft(
        model(
            **{
                "activation text": "glow || dim",
                "preferred weight": 0.7,
                "negative text": "day",
                "notes": "mine",
                "sd version": "SD2",
            }
        )
    )
    assert (result.activation_text, result.weight, result.negative_text) == ("glow", 0.7, "day")
    assert (result.notes, result.sd_version, result.base_model) == ("mine", "SD2", "SDXL 1.0")
    assert "notes" not in result.extra


def test_a_name_that_would_break_a_token_is_cleaned_and_kept() -> None:
    result = draft(model(name="Avatar: <Toph>\x07"))
    assert (result.name, result.extra["original_name"]) == ("Avatar- -Toph-", "Avatar: <Toph>\x07")
    assert "original_name" not in draft(model()).extra


@pytest.mark.parametrize(
    ("stated", "canonical"),
    [("v1.0", "v1.0"), ("  V２  \u200bfinal\t", "V2 final"), ("Ⅲ", "III"), (None, None), (" ", None)],
)
def test_canonical_version_names(stated: str | None, canonical: str | None) -> None:
    assert draft(model(version(name=stated))).canonical_version_name == canonical
