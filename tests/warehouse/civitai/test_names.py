"""Names and trigger words as prompts and file systems need them."""

import pytest

from warehouse.civitai import names


@pytest.mark.parametrize(
    ("groups", "words"),
    [
        (("a, b", "b, c"), ["a", "b", "c"]),
        (("Glow, glow",), ["Glow"]),
        (("<lora:x:1>, glow <lora:y:0.5> paper",), ["glow", "paper"]),
        (("提灯，夜、光",), ["提灯", "夜", "光"]),
        (("a; b\nc || d",), ["a", "b", "c", "d"]),
        (("(masterpiece, best:1.2), glow",), ["(masterpiece, best:1.2)", "glow"]),
        (("(open, glow",), ["(open", "glow"]),
        ((r"ahri \(league, of legends\), fox",), [r"ahri \(league", r"of legends\)", "fox"]),
        (("  two   words .", ",,", ""), ["two words"]),
        (("\u200bglow\u202e",), ["glow"]),
        (("👩\u200d🚀 pilot",), ["👩\u200d🚀 pilot"]),
    ],
)
def test_triggers(groups: tuple[str, ...], words: list[str]) -> None:
    assert list(names.triggers(groups)) == words


@pytest.mark.parametrize(
    ("text", "groups"),
    [("a || b", ("a", "b")), ("a", ("a",)), (" || a ||  || ", ("a",)), ("a|b", ("a|b",)), ("", ())],
)
def test_trigger_groups(text: str, groups: tuple[str, ...]) -> None:
    assert names.trigger_groups(text) == groups


@pytest.mark.parametrize(
    ("title", "parts"),
    [
        ("Lantern - v1", ("Lantern", "v1")),
        ("Lantern - at night - v1", ("Lantern - at night", "v1")),
        ("Lantern", ("Lantern", None)),
        ("Lantern-v1", ("Lantern-v1", None)),
        (" - v1", ("- v1", None)),
    ],
)
def test_titles(title: str, parts: tuple[str, str | None]) -> None:
    assert names.split_title(title) == parts


@pytest.mark.parametrize(
    ("file_name", "ids"),
    [
        ("x-mid_7-vid_11.safetensors", (7, 11)),
        ("model_dict-mid_7-vid_11.json", (7, 11)),
        ("x-mid_7.safetensors", None),
        ("x-mid_" + "9" * 40 + "-vid_1.safetensors", None),
    ],
)
def test_civitdl_numbers(file_name: str, ids: tuple[int, int] | None) -> None:
    assert names.civitdl_ids(file_name) == ids


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ('<a href="https://civitai.com/models/7?modelVersionId=11">', (7, 11)),
        ("https://civitai.com/models/7/paper-lantern?modelVersionId=11", (7, 11)),
        ("https://civitai.com/models/7/paper?x=1&modelVersionId=11", (7, 11)),
        ("https://civitai.green/models/7", (7, None)),
        ("https://example.com/models/7", None),
    ],
)
def test_links(text: str, ids: tuple[int, int | None] | None) -> None:
    assert names.civitai_link(text) == ids


@pytest.mark.parametrize(
    ("name", "version", "expected"),
    [
        ("Paper Lantern", "v1", "Paper Lantern-v1.safetensors"),
        ("a/b\\c:d", None, "a-b-c-d.safetensors"),
        ("夜の提灯", "第一", "夜の提灯-第一.safetensors"),
        (" . ", None, "unnamed.safetensors"),
    ],
)
def test_file_names(name: str, version: str | None, expected: str) -> None:
    assert names.file_name_for(name, version) == expected


def test_long_file_names_are_cut_between_characters() -> None:
    result = names.file_name_for("夜" * 200, "v1")
    assert len(result.encode()) <= names.MAX_FILE_NAME_BYTES
    assert result.startswith("夜夜")
    assert result.endswith(".safetensors")
