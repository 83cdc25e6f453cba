"""Prompts are taken apart, whatever they hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warehouse import prompts
from warehouse.prompts import LoraTag


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("a cat, a dog", "a cat, a dog"),
        ("(masterpiece:1.2), ((best quality)), [blurry]", "masterpiece, best quality, blurry"),
        ("{{wide}} shot BREAK red hat AND blue hat", "wide shot, red hat, blue hat"),
        ("[day:night:0.5] sky", "day, night sky"),
        (r"mona \(genshin\), (x:-.5)", "mona (genshin), x"),
        ("a <lora:x:1> b", "a, b"),
        ("a,, ,\n;b|b", "a, b"),
        ("cinematic 16:9 shot", "cinematic 16:9 shot"),
        ("水墨画，山, 龙", "水墨画，山, 龙"),
        ("BREAKFAST, SAND", "BREAKFAST, SAND"),
        ("", ""),
        ("<lora:only:1>", ""),
    ],
)
def test_plain_words_are_left(prompt: str, text: str) -> None:
    assert prompts.parse(prompt).text == text


@pytest.mark.parametrize(
    ("prompt", "tag"),
    [
        ("<lora:Ink Dragon:0.8>", LoraTag("lora", "Ink Dragon", 0.8)),
        ("<LORA: x : -1 >", LoraTag("lora", "x", -1.0)),
        ("<lora:x>", LoraTag("lora", "x", None)),
        ("<lyco:x:0.5:0.7>", LoraTag("lyco", "x", 0.5)),
        ("<lora:x:te=0.5:0.7>", LoraTag("lora", "x", 0.7)),
        ("<lora:x:nan>", LoraTag("lora", "x", None)),
        ("<lora:x:inf>", LoraTag("lora", "x", None)),
    ],
)
def test_tags_are_read(prompt: str, tag: LoraTag) -> None:
    assert prompts.parse(prompt).tags == (tag,)


def test_a_pasted_infotext_is_split() -> None:
    parsed = prompts.parse("a cat\nNegative prompt: (blurry:1.3), ugly\nSteps: 20, Sampler: Euler a, Seed: 1")
    assert (parsed.text, parsed.negative) == ("a cat", "blurry, ugly")


def test_phrases_are_runs_of_words_within_a_piece() -> None:
    found = prompts.phrases(prompts.parse("Big red dragon, Sci-Fi"))
    assert {"big red dragon", "red dragon", "dragon", "sci-fi"} <= set(found)
    assert "dragon sci-fi" not in found


@given(st.text(st.characters(), max_size=400))
def test_any_text_is_taken_apart(prompt: str) -> None:
    parsed = prompts.parse(prompt)
    assert "\x00" not in parsed.text
    assert prompts.parse(parsed.text).tags == ()
    assert all(phrase.strip() for phrase in prompts.phrases(parsed))


@pytest.mark.timeout(10)
@pytest.mark.parametrize("start", ["", "<lora:", "<lora:a:", ":", "(a:", "[", "[a:b:", "steps: ", "negative prompt:"])
@pytest.mark.parametrize("unit", ["(", "[a:", "<lora:", "<", "\\", ":1", "1", "1.", " ", "a", "\n", "\n ", ": "])
def test_repetition_takes_no_time(start: str, unit: str) -> None:
    prompt = start + unit * (20_000 // len(unit))
    assert len(prompts.phrases(prompts.parse(prompt))) <= 2_000


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("ink,  wash", "ink,  wash"),
        ("<lora:x:1> ink, wash", "ink, wash"),
        ("ink <lyco:x> wash,<lora:y:0.5>", "ink, wash"),
        (">_<, <3", ">_<, <3"),
        ("<lora:x:1>", ""),
        ("ink <lora:x", "ink lora:x"),
        ("<<lora:x:1>lora:y:1>", "<, lora:y:1>"),
    ],
)
def test_lora_tags_are_taken_out(text: str, left: str) -> None:
    assert prompts.without_lora_tags(text) == left
