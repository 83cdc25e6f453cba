"""Every tool's sidecar: what it states, what it keeps for its user, and what in it is stale or no trigger."""

import json
from datetime import UTC, datetime

import pytest

from tests.warehouse.civitai.builders import SHA_A, SHA_B, info, merged, read, source, weight
from warehouse.civitai import AdapterDraft, Source


def beside(*sources: Source) -> AdapterDraft:
    """The adapter of the weight beside these documents."""
    return merged(*sources, beside=weight()).drafts[0]


def test_civitai_info_knows_neither_author_nor_licence() -> None:
    result = beside(source(info(), "/lib/lantern.civitai.info"))
    assert (result.name, result.version, result.civitai_model_id, result.civitai_version_id) == (
        "Paper Lantern",
        "v1.0",
        7,
        11,
    )
    assert (result.author_username, result.licence, result.tags) == (None, None, [])
    assert (result.description_text, result.downloads) == ("First release", 120)


def test_civitai_info_with_what_forks_merge_into_it() -> None:
    document = info(
        model={
            "name": "Paper Lantern",
            "type": "LORA",
            "description": "<p>All about it</p>",
            "tags": ["lantern"],
            "allowNoCredit": False,
            "allowCommercialUse": ["Sell"],
        },
        creator={"username": "mori"},
        extensions={"sd_civitai_helper": {"version": "1.8.1"}},
    )
    result = beside(source(document, "/lib/lantern.civitai.info"))
    assert (result.author_username, result.tags) == ("mori", ["lantern"])
    assert result.description_text == "All about it\n\nFirst release"
    assert result.licence is not None
    assert (result.licence["allow_no_credit"], result.licence["allow_derivatives"]) == (False, None)
    assert result.extra["extensions"]["sd_civitai_helper"]["version"] == "1.8.1"


def test_a1111_user_metadata() -> None:
    document = {
        "description": "line one\nline <two>",
        "sd version": "SDXL",
        "activation text": "glow, paper || dim",
        "preferred weight": 0.65,
        "negative text": "day",
        "notes": "for nights",
    }
    result = beside(source(document))
    assert (result.name, result.sd_version, result.weight, result.notes) == ("lantern", "SDXL", 0.65, "for nights")
    assert (result.activation_text, result.trained_words) == ("glow, paper", ["glow, paper", "dim"])
    assert (result.triggers, result.negative_text) == (["glow", "paper", "dim"], "day")
    assert result.description_text == "line one\nline <two>"


@pytest.mark.parametrize("stated", [0, 0.0, None, "0", ""])
def test_a1111_weight_of_zero_means_not_set(stated: object) -> None:
    assert beside(source({"preferred weight": stated, "activation text": "x"})).weight is None


@pytest.mark.parametrize(("stated", "expected"), [("Unknown", None), ("sd1", "SD1"), ("Other", "Other"), (5, None)])
def test_a1111_version(stated: object, expected: str | None) -> None:
    assert beside(source({"sd version": stated})).sd_version == expected


def test_browser_plus_adds_numbers_and_a_hash_to_a1111() -> None:
    document = {"activation text": "x", "modelId": 7, "modelVersionId": 11, "sha256": SHA_A.upper(), "unpackList": []}
    result = beside(source(document))
    assert (result.civitai_model_id, result.civitai_version_id) == (7, 11)
    assert result.primary_file_sha256 == SHA_A
    missing = beside(source({"activation text": "x", "modelId": "Model not found", "sha256": SHA_A.upper()}))
    assert missing.civitai_model_id is None
    assert missing.extra["civitai_lookup"] == "Model not found"


def lora_manager(**changes: object) -> dict[str, object]:
    """A LoRA Manager document."""
    return {
        "file_name": "lantern",
        "model_name": "Lantern (mine)",
        "file_path": "/elsewhere/lantern.safetensors",
        "size": 5,
        "modified": 1.5,
        "sha256": SHA_A,
        "base_model": "Illustrious",
        "preview_url": "/elsewhere/lantern.webp",
        "notes": "good at 0.6",
        "tags": ["light"],
        "modelDescription": "<p>Lights</p>",
        "favorite": True,
        "autov3": "b2" * 6,
        "usage_tips": json.dumps({"strength": 0.6, "clip_skip": 2}),
        "civitai": info(creator={"username": "mori"}, customImages=[{"url": "mine.png"}]),
        **changes,
    }


def test_lora_manager() -> None:
    result = beside(source(lora_manager(), "/lib/lantern.metadata.json"))
    assert (result.name, result.version, result.base_model) == ("Lantern (mine)", "v1.0", "Illustrious")
    assert (result.notes, result.favorite, result.weight) == ("good at 0.6", True, 0.6)
    assert (result.tags, result.author_username) == (["light"], "mori")
    assert result.description_text == "Lights\n\nFirst release"
    assert (result.civitai_model_id, result.civitai_version_id) == (7, 11)
    assert result.file_path == "/lib/lantern.safetensors"
    assert result.primary_file_sha256 == SHA_A
    assert result.extra["usage_tips"]["clip_skip"] == 2
    assert [example.url for example in result.examples] == ["https://image.example/1.png", "mine.png"]


def test_lora_manager_without_civitai_and_newer_trained_words() -> None:
    result = beside(source(lora_manager(civitai=None, base_model="Unknown", trainedWords=["glow"]), "/lib/x.json"))
    assert (result.trained_words, result.base_model, result.civitai_version_id) == (["glow"], None, None)


def test_lora_manager_names_a_model_it_does_not_know_after_its_file() -> None:
    plain = source(lora_manager(civitai=None, model_name="lantern"), "/lib/lantern.metadata.json")
    assert beside(plain).name == "lantern"
    assert beside(plain, source(info(), "/lib/lantern.civitai.info")).name == "Paper Lantern"


def test_lora_manager_keeps_the_prompts_of_the_users_own_images() -> None:
    image = {"url": "", "id": "1", "hasMeta": True, "meta": {"prompt": "a lantern", "steps": 20}}
    result = beside(source(lora_manager(civitai=info(customImages=[image]))))
    assert [(item.prompt, item.steps) for item in result.examples][-1] == ("a lantern", 20)


@pytest.mark.parametrize("tips", ["not json", "[1]", '{"strength": "strong"}', '{"strength": 0}', "", None, {}, 5])
def test_lora_manager_tips_that_say_nothing(tips: object) -> None:
    assert beside(source(lora_manager(usage_tips=tips))).weight is None


def test_stability_matrix() -> None:
    document = {
        "ModelId": 7,
        "ModelName": "Paper Lantern",
        "ModelDescription": "<p>Lanterns</p>",
        "Nsfw": False,
        "Tags": ["lantern"],
        "ModelType": "LORA",
        "VersionId": 11,
        "VersionName": "v1.0",
        "VersionDescription": "<p>First</p>",
        "AuthorUsername": "mori",
        "BaseModel": "Pony",
        "RemoteFileName": "lantern_v1.safetensors",
        "FileMetadata": {"fp": "fp16", "format": "SafeTensor"},
        "ImportedAt": "2025-05-05T00:00:00+00:00",
        "Hashes": {"SHA256": SHA_A.upper(), "BLAKE3": SHA_B.upper()},
        "TrainedWords": ["glow"],
        "Stats": {"downloadCount": 3, "favoriteCount": 0, "ratingCount": 1, "rating": 5, "thumbsUpCount": 2},
        "UserTitle": "My lantern",
        "ThumbnailImageUrl": "https://image.example/t.png",
        "Source": 0,
    }
    result = beside(source(document, "/lib/lantern.cm-info.json"))
    assert (result.name, result.version, result.author_username) == ("My lantern", "v1.0", "mori")
    assert (result.base_model, result.sd_version, result.nsfw) == ("Pony", "SDXL", False)
    assert (result.downloads, result.likes, result.rating) == (3, 2, 5.0)
    assert (result.primary_file_name, result.primary_file_sha256) == ("lantern_v1.safetensors", SHA_A)
    assert result.description_text == "Lanterns\n\nFirst"
    assert result.published_at is None
    assert result.extra["ImportedAt"] == "2025-05-05T00:00:00+00:00"


def test_swarm_of_the_downloader() -> None:
    document = {
        "modelspec.title": "Paper Lantern - v1.0",
        "modelspec.author": "mori",
        "modelspec.description": (
            'From <a href="https://civitai.com/models/7?modelVersionId=11">https://civitai.com/models/7</a><br>'
            "<p>Lanterns</p>"
        ),
        "modelspec.architecture": "stable-diffusion-xl-v1-base/lora",
        "modelspec.usage_hint": "Illustrious",
        "modelspec.trigger_phrase": "glow, paper; dim",
        "modelspec.tags": "lantern, night",
        "modelspec.license": "CC0",
        "modelspec.date": "2025-03-01T10:00:00Z",
        "modelspec.lora_default_weight": "0.75",
        "modelspec.hash_sha256": "0x" + SHA_B.upper(),
        "modelspec.preview_image": "data:image/jpg;base64,AAAA",
        "time_created": 5,
    }
    result = beside(source(document, "/lib/lantern.swarm.json"))
    assert (result.name, result.version, result.author_username) == ("Paper Lantern", "v1.0", "mori")
    assert (result.civitai_model_id, result.civitai_version_id) == (7, 11)
    assert (result.base_model, result.notes, result.weight) == ("Illustrious", None, 0.75)
    assert (result.trained_words, result.tags) == (["glow, paper", "dim"], ["lantern", "night"])
    assert (result.description_text, result.published_at) == ("Lanterns", datetime(2025, 3, 1, 10, tzinfo=UTC))
    assert result.licence is not None
    assert result.licence["text"] == "CC0"
    assert result.primary_file_sha256 is None, "the hash is of the tensors, not of the file"
    assert "modelspec.preview_image" not in result.extra
    assert result.extra["time_created"] == 5


def test_swarm_written_by_a_person() -> None:
    document = {
        "modelspec.title": "Lantern - at night",
        "modelspec.usage_hint": "use 0.5",
        "modelspec.architecture": "stable-diffusion-v1/lora",
    }
    result = beside(source(document))
    assert (result.name, result.version, result.notes, result.base_model) == (
        "Lantern - at night",
        None,
        "use 0.5",
        "SD 1.5",
    )


def test_rgthree() -> None:
    document = {
        "file": "lantern.safetensors",
        "path": "/elsewhere/lantern.safetensors",
        "modified": 1700000000000,
        "hasInfoFile": True,
        "name": "Paper Lantern - v1.0",
        "type": "LORA",
        "baseModel": "SD 1.5",
        "sha256": SHA_A,
        "strengthMin": 0.4,
        "strengthMax": 0.9,
        "links": ["https://civitai.com/models/7?modelVersionId=11"],
        "trainedWords": [
            {"word": "glow", "civitai": True, "count": 3},
            {"word": "1girl", "count": 40, "metadata": True},
            {"word": "mine", "user": True, "count": 1},
            {"word": "plain"},
        ],
        "images": [{"url": "a.png", "positive": "a lantern", "negative": "day", "steps": 9, "cfg": 4, "seed": 3}],
        "userTags": ["favourites"],
        "userNote": "soft",
    }
    result = beside(source(document, "/lib/lantern.safetensors.rgthree-info.json"))
    assert (result.name, result.version, result.base_model) == ("Paper Lantern", "v1.0", "SD 1.5")
    assert (result.civitai_model_id, result.civitai_version_id) == (7, 11)
    assert result.trained_words == ["glow", "mine", "plain"]
    assert (result.tags, result.notes) == (["favourites"], "soft")
    assert (result.examples[0].prompt, result.examples[0].cfg_scale) == ("a lantern", 4.0)
    assert (result.extra["strengthMin"], result.extra["strengthMax"]) == (0.4, 0.9)


def test_rgthree_with_what_civitai_answered() -> None:
    document = {"file": "lantern.safetensors", "triggerWords": ["old"], "raw": {"civitai": info()}}
    result = beside(source(document))
    assert (result.name, result.version, result.trained_words) == ("Paper Lantern", "v1.0", ["old"])
    assert result.published_at == datetime(2025, 3, 1, 10, tzinfo=UTC)


def test_invokeai() -> None:
    document = {
        "key": "0-1",
        "hash": "blake3:" + SHA_B,
        "path": "lora/lantern.safetensors",
        "file_size": 1_049_088,
        "name": "Lantern",
        "description": "Soft light",
        "source": "https://civitai.com/models/7?modelVersionId=11",
        "source_type": "url",
        "trigger_phrases": ["glow"],
        "default_settings": {"weight": 0.55},
        "base": "sdxl",
        "type": "lora",
        "format": "lycoris",
    }
    result = beside(source(document))
    assert (result.name, result.base_model, result.weight) == ("Lantern", "SDXL 1.0", 0.55)
    assert (result.civitai_version_id, result.trained_words) == (11, ["glow"])
    assert (result.description_text, result.primary_file_sha256) == ("Soft light", None)
    assert result.primary_file_download_url is None
    address = "https://civitai.com/api/download/models/12?type=Model"
    result = beside(source({**document, "source": address}))
    assert (result.civitai_version_id, result.primary_file_download_url) == (12, address)
    result = beside(source({**document, "source": "/home/me/lantern.safetensors"}))
    assert (result.civitai_version_id, result.primary_file_download_url) == (None, None)


def test_a_dumped_header() -> None:
    document = {
        "ss_output_name": "lantern",
        "ss_base_model_version": "sd_v1",
        "ss_network_module": "networks.lora",
        "ss_network_dim": "16",
        "ss_training_comment": "first try",
        "ss_tag_frequency": {"a": {"glow": 3}, "b": {"glow": 2, "paper": 4}},
        "sshs_model_hash": SHA_B,
    }
    for wrapped in (document, {"__metadata__": document, "lora_unet.weight": {"dtype": "F16"}}):
        result = beside(source(wrapped))
        assert (result.name, result.base_model, result.description_text) == ("lantern", "SD 1.5", "first try")
        assert result.extra["training_tags"] == {"glow": 5, "paper": 4}
        assert (result.extra["rank"], result.extra["network_type"]) == (16, "lora")


def test_a_hit_of_the_search_index() -> None:
    document = {
        "id": 7,
        "name": "Paper Lantern",
        "type": "LORA",
        "nsfwLevel": 7,
        "metrics": {"downloadCount": 9, "thumbsUpCount": 4},
        "user": {"username": "mori"},
        "category": {"id": 1, "name": "style"},
        "permissions": {"allowNoCredit": True, "allowCommercialUse": ["Image"], "sfwOnly": False},
        "tags": [11, 12],
        "triggerWords": ["glow"],
        "versions": [
            {
                "id": 11,
                "name": "v1",
                "baseModel": "Pony",
                "trainedWords": ["glow"],
                "metrics": {"downloadCount": 5},
                "hashData": [{"hash": SHA_A[:10].upper(), "type": "AutoV2"}, {"hash": "x", "type": "Odd"}],
                "canGenerate": True,
            },
            {"id": 12, "name": "v2"},
        ],
    }
    reading = read(document)
    assert reading.complaints == ()
    first, second = merged(source(document)).drafts
    assert (first.name, first.version, first.author_username, first.tags) == ("Paper Lantern", "v1", "mori", ["style"])
    assert (first.downloads, first.likes, first.supports_generation) == (5, 4, True)
    assert (second.civitai_version_id, second.downloads) == (12, 9)
    found = merged(source(document), beside=weight("/lib/other.safetensors", sha256=SHA_A))
    assert (found.drafts[0].civitai_version_id, found.drafts[0].file_state) == (11, "present")
