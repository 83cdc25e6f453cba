"""What adapters and prompts are looked up by."""

from hypothesis import given
from hypothesis import strategies as st

from warehouse import prompts
from warehouse.lexical import tokens
from warehouse.lexical.tokens import FIELDS
from warehouse.vectors.facts import AdapterFacts


def asked(prompt: str) -> tokens.Terms:
    return tokens.asked(prompts.parse(prompt))


def test_a_prompt_asks_for_words_pairs_and_its_fragments_as_written() -> None:
    terms = asked("(Red Sky:1.2), <lora:ink:0.8> a dragon, red sky")
    assert terms["words"] == ["red", "sky", "a", "dragon"]
    assert terms["pairs"] == ["red_sky", "sky_a", "a_dragon", "dragon_red"]
    assert terms["fragments"] == ["(red_sky:1.2)", "a_dragon", "red_sky"]
    assert terms["named"] == terms["described"] == ["red", "sky", "dragon"]


def test_an_adapter_is_called_by_name_tags_and_triggers() -> None:
    facts = AdapterFacts(
        name="Ink Dragon", tags=("水墨画",), trained_words=("<lora:ink:1> inkstyle",), description="A style of ink."
    )
    terms = tokens.document(7, facts).terms
    assert {"ink", "dragon", "水墨", "墨画", "inkstyle"} <= set(terms["named"])
    assert "lora" not in terms["named"]
    assert terms["described"] == ["a", "style", "of", "ink"]
    assert terms["words"] == []


def test_words_of_all_example_prompts_count_as_often_as_they_occur() -> None:
    terms = tokens.document(7, AdapterFacts(name="x", prompts=("red sky", "red sea"))).terms
    assert terms["words"].count("red") == 2
    assert "sky_red" not in terms["pairs"], "prompts do not follow each other"


def test_training_tags_are_read_as_a_prompt_the_most_frequent_first() -> None:
    facts = AdapterFacts(name="x", training_tags={f"tag {number}": number for number in range(500)})
    fragments = tokens.document(7, facts).terms["fragments"]
    assert len(fragments) == tokens.MAX_TRAINING_TAGS
    assert fragments[0] == "tag_499"


def test_what_follows_negative_prompt_is_not_looked_for() -> None:
    assert asked("a cat\nNegative prompt: blurry\nSteps: 20, Sampler: Euler")["words"] == ["a", "cat"]


def test_function_words_are_asked_of_example_prompts_alone() -> None:
    terms = asked("a girl with an umbrella")
    assert terms["named"] == terms["described"] == ["girl", "umbrella"]
    assert terms["words"] == ["a", "girl", "with", "an", "umbrella"]


def test_trigger_words_are_phrases_and_a_prompt_asks_for_every_short_run() -> None:
    facts = AdapterFacts(name="Ink", trained_words=("Ink Dragon, red sky",), triggers=("inkstyle",), tags=("style",))
    terms = tokens.document(7, facts).terms
    assert terms["phrases"] == ["ink_dragon_red_sky", "ink_dragon", "red_sky", "inkstyle"]
    assert terms["name"] == ["ink"]
    runs = asked("an ink dragon, (red sky:1.2)")["phrases"]
    assert {"ink_dragon", "red_sky", "dragon"} <= set(runs)
    assert not {"an", "dragon_red"} & set(runs), "nothing goes beyond a comma, nor is a function word a trigger"


def test_words_around_a_trigger_word_are_a_pair_too() -> None:
    facts = AdapterFacts(name="x", trained_words=("zqstyle, ink dragon",), prompts=("a zqstyle ink dragon flies",))
    pairs = tokens.document(7, facts).terms["pairs"]
    assert pairs == ["a_zqstyle", "zqstyle_ink", "ink_dragon", "dragon_flies", "a_flies"]
    assert asked("a flies")["pairs"] == ["a_flies"]


@given(st.text(st.characters(), max_size=300))
def test_no_term_has_white_space_or_is_empty(text: str) -> None:
    facts = AdapterFacts(name=text, description=text, prompts=(text,), triggers=(text[:9],))
    for terms in (asked(text), tokens.document(1, facts).terms):
        assert terms.keys() == set(FIELDS)
        assert all(term and not set(term) & set(" \t\n\r\f\v") for field in FIELDS for term in terms[field])


def test_terms_of_a_prompt_are_bounded() -> None:
    terms = asked(", ".join(f"word{number}" for number in range(5_000)))
    assert all(len(terms[field]) <= tokens.MAX_TERMS for field in FIELDS)
