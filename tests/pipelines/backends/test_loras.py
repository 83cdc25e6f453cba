"""Finding our files in a server's listing, rewriting tokens, and the report of what was applied."""

import pytest

from pipelines.backends.loras import (
    ListedLora,
    Listing,
    LoraStatus,
    OwnLora,
    missing_of,
    report,
    rewrite,
    warnings,
    without_tokens,
)

PAYLOAD = "ab" * 32


def test_a_hash_decides_whatever_the_names() -> None:
    own = OwnLora("1", "Ink", "/library/ink.safetensors", frozenset({PAYLOAD}))
    listing = [
        ListedLora("style/ink", "/srv/style/ink.safetensors"),
        ListedLora("other", "/srv/other.safetensors", frozenset({PAYLOAD[:12]})),
    ]
    assert Listing(listing).find(own) == listing[1]


def test_a_short_or_empty_hash_says_nothing() -> None:
    own = OwnLora("1", "Ink", "/library/nothing.safetensors", frozenset({PAYLOAD}))
    assert Listing([ListedLora("other", "/srv/other.safetensors", frozenset({"abab", ""}))]).find(own) is None


def test_the_path_that_agrees_furthest_from_its_end_decides() -> None:
    own = OwnLora("1", "Ink", "/library/style/ink.v1.safetensors")
    listing = [
        ListedLora("ink.v1", "C:\\models\\Lora\\ink.v1.safetensors"),
        ListedLora("style/ink.v1", "C:\\models\\Lora\\style\\ink.v1.safetensors"),
    ]
    assert Listing(listing).find(own) == listing[1]


def test_two_that_agree_equally_are_neither() -> None:
    own = OwnLora("1", "Ink", "/library/ink.safetensors")
    listing = [ListedLora("a/ink", "/srv/a/ink.safetensors"), ListedLora("b/ink", "/srv/b/ink.safetensors")]
    assert Listing(listing).find(own) is None


def test_tokens_get_the_servers_names_and_keep_the_rest() -> None:
    own = {"Ink Dragon": OwnLora("1", "Ink Dragon", "/library/ink_v2.safetensors")}
    listing = [ListedLora("style/ink_v2", "/srv/style/ink_v2.safetensors")]
    done = rewrite("a <lora:Ink Dragon:0.75:te=0.5> b <lora:gone:1> <lora:style/ink_v2:-0.5>", own, Listing(listing))
    assert done.prompt == "a <lora:style/ink_v2:0.75:te=0.5> b <lora:gone:1> <lora:style/ink_v2:-0.5>"
    assert [(item.name, item.weight, item.adapter_id, item.listed) for item in done.sent] == [
        ("Ink Dragon", 0.75, "1", True),
        ("gone", 1.0, None, False),
        ("style/ink_v2", -0.5, None, True),
    ]


@pytest.mark.parametrize("prompt", ["", "no tokens", "<lora:>", "<lora::1>", "<lyco:x:1>", "<lora:a", "a < b > c"])
def test_what_is_no_token_is_left_as_it_is(prompt: str) -> None:
    done = rewrite(prompt, {}, Listing([ListedLora("a", "a")]))
    assert (done.prompt, done.sent) == (prompt, [])


def test_a_listed_name_of_its_own_wins_over_an_ambiguous_path() -> None:
    listing = [ListedLora("a/ink", "/srv/a/ink.safetensors"), ListedLora("ink", "/srv/b/ink.safetensors")]
    assert rewrite("<lora:ink:1>", {}, Listing(listing)).sent[0].sent_as == "ink"


def test_the_report_tells_each_fate() -> None:
    listing = [ListedLora("a", "a"), ListedLora("b", "b"), ListedLora("c, d", "c, d")]
    sent = rewrite("<lora:a:1><lora:b:1><lora:c, d:1><lora:x:1><lora:a:0>", {}, Listing(listing)).sent
    found = report(sent, frozenset({"a", "c", "d"}))
    assert {status: [entry["name"] for entry in entries] for status, entries in found.items()} == {
        LoraStatus.APPLIED: ["a", "c, d"],
        LoraStatus.INCOMPATIBLE: ["b"],
        LoraStatus.UNKNOWN: ["x"],
        LoraStatus.SKIPPED: ["a"],
        LoraStatus.UNVERIFIED: [],
    }
    assert missing_of(found) == ["x", "b"]
    said = warnings(found, "SD.Next")
    assert len(said) == 3
    assert said[1].startswith("b was not applied by SD.Next")


def test_a_name_with_commas_is_found_as_a1111_writes_it() -> None:
    sent = rewrite("<lora:c, d:1>", {}, Listing([ListedLora("c, d", "c, d")])).sent
    assert report(sent, frozenset({"c d"}))[LoraStatus.APPLIED]


def test_a_server_that_says_nothing_leaves_it_open() -> None:
    sent = rewrite("<lora:a:1><lora:x:1>", {}, Listing([ListedLora("a", "a")])).sent
    found = report(sent, None)
    assert [entry["name"] for entry in found[LoraStatus.UNVERIFIED]] == ["a"]
    assert [entry["name"] for entry in found[LoraStatus.UNKNOWN]] == ["x"]


def test_tokens_are_taken_out_and_the_rest_is_left() -> None:
    assert without_tokens("a <lora:x:1>  dragon, <lora:y:0.5:te=1>") == "a dragon,"
    assert without_tokens("two  spaces\nand a line") == "two  spaces\nand a line"


@pytest.mark.parametrize(
    ("token", "model", "text"),
    [
        ("<lora:a>", 1, 1),
        ("<lora:a:0.5>", 0.5, 0.5),
        ("<lora:a:0.5:0.25>", 0.25, 0.5),
        ("<lora:a:0.5:te=0>", 0.5, 0),
        ("<lora:a:0.5:unet=-1:te=2>", -1, 2),
        ("<lora:a:much:dyn=4>", 1, 1),
        ("<lora:a:nan>", 1, 1),
        ("<lora:a:inf>", 1, 1),
    ],
)
def test_the_weights_of_a_token(token: str, model: float, text: float) -> None:
    (sent,) = rewrite(token, {}, Listing([])).sent
    assert (sent.weight, sent.text_weight) == (model, text)
