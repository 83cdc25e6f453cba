"""The index on real files: what is found, in which order, and that a copy can grow while the original is read."""

from pathlib import Path

import pytest

from warehouse import prompts
from warehouse.lexical import index, tokens
from warehouse.lexical.index import LexicalIndex
from warehouse.lexical.tokens import FIELDS, Document, Field, Terms
from warehouse.vectors.facts import AdapterFacts


def document(number: int, name: str, *examples: str, base_model: str | None = None) -> Document:
    return tokens.document(number, AdapterFacts(name=name, prompts=examples, base_model=base_model))


def asked(prompt: str) -> Terms:
    return tokens.asked(prompts.parse(prompt))


LIBRARY = [
    document(1, "Ink Dragon", "a dragon in ink, red sky", base_model="SD 1.5"),
    document(2, "Ink Horse", "a horse in ink, (masterpiece:1.3)", base_model="SDXL 1.0"),
    document(3, "Sea", "a quiet sea", base_model="SD 1.5"),
    *(document(number, f"Filler {number}", f"filler {number}") for number in range(4, 40)),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    written = tmp_path / "written"
    written.mkdir()
    index.write(written, LIBRARY, expected=len(LIBRARY))
    return written


def test_the_adapter_that_says_most_of_a_prompt_is_first(folder: Path) -> None:
    opened = LexicalIndex(folder)
    assert opened.count == len(LIBRARY)
    assert [hit.number for hit in opened.search(asked("a dragon in ink"), 2)] == [1, 2]
    assert opened.search(asked("(masterpiece:1.3)"), 5)[0].number == 2


def test_a_prompt_that_says_nothing_known_finds_nothing(folder: Path) -> None:
    opened = LexicalIndex(folder)
    assert opened.search(asked("zebra"), 5) == []
    assert opened.search(asked(""), 5) == []


def test_a_base_model_narrows_and_does_not_score(folder: Path) -> None:
    opened = LexicalIndex(folder)
    everywhere = {hit.number: hit.score for hit in opened.search(asked("ink"), 5)}
    narrowed = opened.search(asked("ink"), 5, base_model="SDXL 1.0")
    assert [hit.number for hit in narrowed] == [2]
    assert narrowed[0].score == pytest.approx(everywhere[2])


def test_given_adapters_score_as_in_a_search(folder: Path) -> None:
    opened = LexicalIndex(folder)
    found = {hit.number: hit.score for hit in opened.search(asked("a dragon in ink"), 50)}
    assert opened.score(asked("a dragon in ink"), [2, 39, 1_000]) == pytest.approx({2: found[2]})


def test_only_fields_with_a_weight_count(folder: Path) -> None:
    assert [hit.number for hit in LexicalIndex(folder).search(asked("red sky"), 5, weights={"named": 1.0})] == []


def test_a_whole_trigger_says_more_than_its_words(tmp_path: Path) -> None:
    whole, parts = (
        tokens.document(number, AdapterFacts(name="x", trained_words=(text,)))
        for number, text in ((1, "red sky"), (2, "sky, red"))
    )
    index.write(tmp_path, [parts, whole, *LIBRARY[3:]], expected=2)
    assert LexicalIndex(tmp_path).search(asked("a red sky"), 5)[0].number == 1


def test_an_index_of_an_earlier_version_is_asked_with_its_own_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    earlier: tuple[Field, ...] = ("named", "described", "words", "pairs", "fragments")
    with monkeypatch.context() as patched:
        patched.setattr(index, "FIELDS", earlier)
        index.write(tmp_path, LIBRARY, expected=len(LIBRARY))
    opened = LexicalIndex(tmp_path, dict.fromkeys(earlier, 0.1))
    assert [hit.number for hit in opened.search(asked("a dragon in ink"), 2)] == [1, 2]
    assert opened.score_beside(asked("a dragon in ink"), LIBRARY[:1], {})[1] > 0
    assert opened.count_of("named", "ink") == 2


def test_a_document_beside_the_index_scores_as_one_in_it(folder: Path) -> None:
    opened = LexicalIndex(folder)
    terms = asked("a dragon in ink, red sky")
    lengths = {field: sum(len(each.terms[field]) for each in LIBRARY) / len(LIBRARY) for field in FIELDS}
    beside = opened.score_beside(terms, LIBRARY[:3], lengths)
    inside = {hit.number: hit.score for hit in opened.search(terms, 50)}
    # The index keeps lengths of documents in 8 bits.
    assert {number: beside[number] for number in (1, 2, 3)} == pytest.approx(
        {number: inside[number] for number in (1, 2, 3)}, rel=0.1
    )


def test_each_field_by_itself_says_what_it_does_when_asked_alone(folder: Path) -> None:
    opened = LexicalIndex(folder)
    terms = asked("a dragon in ink, red sky")
    scores = {hit.number: hit.score for hit in opened.search(terms, 3)}
    by_field = opened.scores_by_field(terms, scores)
    assert by_field.keys() == scores.keys()
    for place, field in enumerate(index.WEIGHTS):
        alone = opened.score(terms, list(scores), weights={field: 1.0})
        assert {number: each[place] for number, each in by_field.items()} == pytest.approx(
            {number: alone.get(number, 0.0) for number in scores}, abs=1e-4
        )
    # Without a weight a field is not looked at.
    facts = {"name": 0.2}
    scores = {hit.number: hit.score for hit in opened.search(terms, 3, weights=facts)}
    named = opened.scores_by_field(terms, scores, weights=facts)
    assert all(each[0] > 0 and not any(each[1:]) for each in named.values())
    assert opened.scores_by_field(terms, {}) == {}


def test_each_field_of_a_document_beside_the_index_scores_as_in_it(folder: Path) -> None:
    opened = LexicalIndex(folder)
    terms = asked("a dragon in ink, red sky")
    lengths = {field: sum(len(each.terms[field]) for each in LIBRARY) / len(LIBRARY) for field in FIELDS}
    beside = opened.scores_by_field_beside(terms, LIBRARY[:1], lengths)[1]
    inside = opened.scores_by_field(terms, {hit.number: hit.score for hit in opened.search(terms, 1)})[1]
    # The index keeps lengths of documents in 8 bits.
    assert beside == pytest.approx(inside, rel=0.15)


def test_a_copy_grows_and_the_original_stays(folder: Path, tmp_path: Path) -> None:
    before = LexicalIndex(folder)
    copy = tmp_path / "copy"
    copy.mkdir()
    index.clone(folder, copy)
    index.write(copy, [document(1, "Whale"), document(100, "Orca")], removed=[1, 2], expected=2)
    after = LexicalIndex(copy)
    assert after.count == len(LIBRARY)
    assert [hit.number for hit in after.search(asked("ink dragon"), 5)] == []
    assert [hit.number for hit in after.search(asked("orca"), 5)] == [100]
    for opened in (before, LexicalIndex(folder)):
        assert [hit.number for hit in opened.search(asked("ink dragon"), 1)] == [1]


def test_equals_come_by_number(tmp_path: Path) -> None:
    index.write(tmp_path, [document(number, "same") for number in (5, 3, 9)], expected=3)
    assert [hit.number for hit in LexicalIndex(tmp_path).search(asked("same"), 5)] == [3, 5, 9]


def test_a_damaged_index_says_so(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(OSError, match="cannot be opened"):
        LexicalIndex(tmp_path / "nowhere")
    (folder / "meta.json").write_text("{", encoding="utf-8")
    with pytest.raises(OSError, match="cannot be opened"):
        LexicalIndex(folder)
