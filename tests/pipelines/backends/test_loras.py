"""Finding our files in a server's listing, rewriting tokens, and the report of what was applied."""

import pytest

from pipelines.backends.loras import ListedLora, LoraStatus, OwnLora, find_listed, report, rewrite, warnings

PAYLOAD = "ab" * 32


def test_a_hash_decides_whatever_the_names() -> None:
    own = OwnLora("1", "Ink", "/library/ink.safetensors", frozenset({PAYLOAD}))
    listing = [
        ListedLora("style/ink", "/srv/style/ink.safetensors"),
        ListedLora("other", "/srv/other.safetensors", frozenset({PAYLOAD[:12]})),
    ]
    assert find_listed(own, listing) == listing[1]


def test_a_short_or_empty_hash_says_nothing() -> None:
    own = OwnLora("1", "Ink", "/library/nothing.safetensors", frozenset({PAYLOAD}))
    assert find_listed(own, [ListedLora("other", "/srv/other.safetensors", frozenset({"abab", ""}))]) is None


def test_the_path_that_agrees_furthest_from_its_end_decides() -> None:
    own = OwnLora("1", "Ink", "/library/style/ink.v1.safetensors")
    listing = [
        ListedLora("ink.v1", "C:\\models\\Lora\\ink.v1.safetensors"),
        ListedLora("style/ink.v1", "C:\\models\\Lora\\style\\ink.v1.safetensors"),
    ]
    assert find_listed(own, listing) == listing[1]


def test_two_that_agree_equally_are_neither() -> None:
    own = OwnLora("1", "Ink", "/library/ink.safetensors")
    listing = [ListedLora("a/ink", "/srv/a/ink.safetensors"), ListedLora("b/ink", "/srv/b/ink.safetensors")]
    assert find_listed(own, listing) is None


def test_tokens_get_the_servers_names_and_keep_the_rest() -> None:
    own = {"Ink Dragon": OwnLora("1", "Ink Dragon", "/library/ink_v2.safetensors")}
    listing = [ListedLora("style/ink_v2", "/srv/style/ink_v2.safetensors")]
    done = rewrite("a <lora:Ink Dragon:0.75:te=0.5> b <lora:gone:1> <lora:style/ink_v2:-0.5>", own, listing)
    assert done.prompt == "a <lora:style/ink_v2:0.75:te=0.5> b <lora:gone:1> <lora:style/ink_v2:-0.5>"
    assert [(item.name, item.weight, item.adapter_id, item.listed) for item in done.sent] == [
        ("Ink Dragon", 0.75, "1", True),
        ("gone", 1.0, None, False),
        ("style/ink_v2", -0.5, None, True),
    ]


@pytest.mark.parametrize("prompt", ["", "no tokens", "<lora:>", "<lora::1>", "<lyco:x:1>", "<lora:a", "a < b > c"])
def test_what_is_no_token_is_left_as_it_is(prompt: str) -> None:
    done = rewrite(prompt, {}, [ListedLora("a", "a")])
    assert (done.prompt, done.sent) == (prompt, [])


def test_a_listed_name_of_its_own_wins_over_an_ambiguous_path() -> None:
    listing = [ListedLora("a/ink", "/srv/a/ink.safetensors"), ListedLora("ink", "/srv/b/ink.safetensors")]
    assert rewrite("<lora:ink:1>", {}, listing).sent[0].sent_as == "ink"


def test_the_report_tells_each_fate() -> None:
    listing = [ListedLora("a", "a"), ListedLora("b", "b"), ListedLora("c, d", "c, d")]
    sent = rewrite("<lora:a:1><lora:b:1><lora:c, d:1><lora:x:1><lora:a:0>", {}, listing).sent
    entries = report(sent, frozenset({"a", "c", "d"}))
    assert [entry["status"] for entry in entries] == [
        LoraStatus.APPLIED,
        LoraStatus.INCOMPATIBLE,
        LoraStatus.APPLIED,
        LoraStatus.UNKNOWN,
        LoraStatus.SKIPPED,
    ]
    said = warnings(entries, "SD.Next")
    assert len(said) == 3
    assert said[0].startswith("b was not applied by SD.Next")


def test_a_server_that_says_nothing_leaves_it_open() -> None:
    sent = rewrite("<lora:a:1><lora:x:1>", {}, [ListedLora("a", "a")]).sent
    assert [entry["status"] for entry in report(sent, None)] == [LoraStatus.UNVERIFIED, LoraStatus.UNKNOWN]
