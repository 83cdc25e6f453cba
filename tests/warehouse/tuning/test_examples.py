"""What is learned from: prompts of the right half, without themselves in the texts."""

from sqlalchemy import update

from tests.warehouse.tuning.conftest import MODELS, SCENES
from warehouse.engine import Database
from warehouse.evaluation.questions import Part, key_of, part_of
from warehouse.models import AdapterDetail
from warehouse.tuning.examples import digest_of, examples


def test_only_the_half_that_is_learned_on_is_read(library: Database) -> None:
    with library.read() as connection:
        found = examples(connection, most=1_000, held_out=frozenset())
    learned = [f"model:{number}" for number in range(MODELS) if part_of(f"model:{number}") is Part.LEARNED]
    assert {example.model for example in found} == set(learned)
    assert len(found) == len(SCENES) * len(learned)


def test_a_prompt_is_asked_with_and_without_trigger_words_of_texts_that_do_not_hold_it(library: Database) -> None:
    with library.read() as connection:
        found = examples(connection, most=1_000, held_out=frozenset())
    for example in found:
        written, without = example.prompts
        number = example.model.removeprefix("model:")
        scene = next(scene for scene in SCENES if scene in written)
        assert f"qz{number}ori" in written
        assert f"qz{number}ori" not in without
        assert scene in without
        semantic, artistic = example.texts
        assert f"Style {number}" in semantic
        assert scene not in artistic
        assert all(other in artistic for other in SCENES if other != scene)


def test_the_number_is_bounded_and_the_choice_stays(library: Database) -> None:
    with library.read() as connection:
        every = examples(connection, most=1_000, held_out=frozenset())
        few = examples(connection, most=10, held_out=frozenset())
        again = examples(connection, most=10, held_out=frozenset())
    assert few == again == every[:10]
    assert digest_of(few) == digest_of(again) != digest_of(every)


def test_prompts_that_are_asked_elsewhere_are_left_out(library: Database) -> None:
    with library.read() as connection:
        every = examples(connection, most=1_000, held_out=frozenset())
        number = every[0].model.removeprefix("model:")
        held_out = {key_of(f"qz{number}ori, {SCENES[0]}, wide shot")}
        found = examples(connection, most=1_000, held_out=held_out)
    assert len(found) == len(every) - 1


def test_a_prompt_that_many_adapters_have_is_learned_from_once(library: Database) -> None:
    with library.write() as connection:
        connection.execute(update(AdapterDetail).values(examples=[{"prompt": "one prompt of everybody"}]))
    with library.read() as connection:
        found = examples(connection, most=1_000, held_out=frozenset())
    assert len(found) == 1
