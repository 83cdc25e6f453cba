"""Which prompts an evaluation asks, and what must not be searched for them."""

import pytest

from tests.warehouse.lexical.library import add
from warehouse.engine import Database
from warehouse.evaluation.questions import (
    Part,
    Questions,
    choose,
    held_out_of,
    key_of,
    models_of,
    part_of,
    without_triggers,
)
from warehouse.vectors.facts import AdapterFacts


def _choose(database: Database, count: int, *, seed: int = 0, part: Part = Part.ALL) -> Questions:
    with database.read() as connection:
        return choose(connection, count, seed=seed, part=part)


def test_duplicates_are_one_question(database: Database) -> None:
    add(
        database,
        1,
        "One",
        "a red sky, (evening:1.2)",
        "A RED SKY, evening <lora:x:1>",
        "a blue sea at noon",
        "two words",
    )
    chosen = _choose(database, 10)
    assert {query.key for query in chosen.queries} == {"a red sky evening", "a blue sea at noon"}
    assert chosen.possible == 2


def test_lora_tags_are_no_part_of_a_question(sqlite_database: Database) -> None:
    add(sqlite_database, 1, "One", "a red sky <lora:one:0.8>", trained_words=["red sky"])
    [query] = _choose(sqlite_database, 10).queries
    assert "lora" not in query.written
    assert query.without_triggers.split() == ["a"]


def test_the_same_seed_asks_the_same_and_another_one_others(sqlite_database: Database) -> None:
    for number in range(40):
        add(sqlite_database, number, f"Name {number}", f"a place called number{number}")
    once, again, other = (_choose(sqlite_database, 10, seed=seed) for seed in (1, 1, 2))
    assert once == again
    assert len(once.queries) == 10
    assert once.possible == 40
    assert {query.key for query in once.queries} != {query.key for query in other.queries}


def test_versions_of_a_model_are_in_one_part(sqlite_database: Database) -> None:
    for number in range(60):
        add(sqlite_database, number, f"Name {number}", f"a place called number{number}", civitai_model_id=number // 2)
    parts = {part: {query.model for query in _choose(sqlite_database, 100, part=part).queries} for part in Part}
    assert parts[Part.LEARNED] | parts[Part.MEASURED] == parts[Part.ALL]
    assert not parts[Part.LEARNED] & parts[Part.MEASURED]
    assert all(parts.values())
    with sqlite_database.read() as connection:
        assert {part_of(model) for model in models_of(connection).values()} == {Part.LEARNED, Part.MEASURED}


@pytest.mark.parametrize(
    ("prompt", "left"),
    [
        ("inkstyle, a cat", " , a cat"),
        ("INKSTYLE, a cat", " , a cat"),
        ("my inkstyles, a cat", "my inkstyles, a cat"),
        ("red dress, long hair, a cat", " ,  , a cat"),
        ("red  dress", "red  dress"),
    ],
)
def test_triggers_go_as_whole_words_and_by_their_parts(prompt: str, left: str) -> None:
    facts = AdapterFacts(name="x", trained_words=("long hair, red dress",), triggers=("inkstyle",))
    assert without_triggers(prompt, facts) == left


def test_what_is_asked_is_held_out_with_its_duplicates() -> None:
    facts = AdapterFacts(name="x", prompts=("a red sky", "A (red:1.1) sky", "a blue sea"))
    assert held_out_of(facts, frozenset({key_of("a red sky")})).prompts == ("a blue sea",)
    assert held_out_of(facts, frozenset({"other"})) is facts
