import re

import pytest
from hypothesis import HealthCheck, assume, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select

from tests.warehouse.test_facets import adapter_row
from warehouse.engine import Database
from warehouse.fulltext import MAX_TERMS, fold, parse, search_row, segment
from warehouse.models import Adapter, AdapterSearch
from warehouse.queries.evidence import found_by, occurrences
from warehouse.queries.matching import matches

TEXTS = {
    "plain": "Knitted sweater style, warm colours",
    "japanese": "東京の夜景 スタイル",
    "chinese": "水墨画风格",
    "korean": "한국 전통 의상",
    "dragon": "黒龍 flame, 「白虎」 朱雀",
    "accents": "Café au lait, Ünïcödé",
    "wide": "ＦＵＬＬ　ｗｉｄｔｈ",
    "quoted": 'she said "neon light" twice',
}


def _fill(database: Database) -> None:
    with database.write() as connection:
        for number, (name, text) in enumerate(TEXTS.items(), start=1):
            connection.execute(insert(Adapter).values(**adapter_row(name)))
            row = search_row(name=name, version=None, author=None, tags=[], words=[], description=text, notes=None)
            connection.execute(insert(AdapterSearch).values(adapter_pk=number, **row))


def _found(database: Database, question: str) -> list[str]:
    query = parse(question)
    if not query:
        return []
    found = matches(query, sqlite=database.is_sqlite).subquery()
    with database.read() as connection:
        statement = select(Adapter.name).join(found, found.c.adapter_pk == Adapter.pk).order_by(Adapter.name)
        return list(connection.execute(statement).scalars())


@pytest.fixture
def filled(database: Database) -> Database:
    _fill(database)
    return database


def test_words_phrases_prefixes_and_scripts(filled: Database) -> None:
    for question, expected in (
        ("sweater", ["plain"]),
        ("SWEAT", ["plain"]),
        ("warm sweater", ["plain"]),
        ('"sweater warm"', []),
        ('"warm colours"', ["plain"]),
        ("夜景", ["japanese"]),
        ("東京", ["japanese"]),
        ("スタイル", ["japanese"]),
        ("墨画", ["chinese"]),
        ("水墨画风格", ["chinese"]),
        ("전통", ["korean"]),
        ("龍", ["dragon"]),
        ("黒", ["dragon"]),
        ("虎", ["dragon"]),
        ("雀", ["dragon"]),
        ("상", ["korean"]),
        ("景", ["japanese"]),
        ("墨", ["chinese"]),
        ("格", ["chinese"]),
        ("水墨画风", ["chinese"]),
        ("龍黒", []),
        ("龍 flame", ["dragon"]),
        ("黒龍fla", ["dragon"]),
        ('"白虎 朱雀"', ["dragon"]),
        ('"白虎 朱"', ["dragon"]),
        ('"虎 朱雀"', ["dragon"]),
        ('"朱雀 白虎"', []),
        ('"夜景"', ["japanese"]),
        ('"景"', ["japanese"]),
        ("full", ["wide"]),
        ("neon light", ["quoted"]),
        ("nothing", []),
        ("", []),
        ("!!! ???", []),
    ):
        assert _found(filled, question) == expected, question


CJK = st.text(st.sampled_from("黒龍神水墨画風の한국"), min_size=1, max_size=8)


@given(st.lists(CJK, min_size=1, max_size=3), st.data())
@hypothesis_settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_every_part_of_a_run_finds_its_text_and_no_other_does(
    database: Database, runs: list[str], data: st.DataObject
) -> None:
    text = "、".join(runs)
    with database.write() as connection:
        connection.execute(delete(AdapterSearch))
        connection.execute(delete(Adapter))
        connection.execute(insert(Adapter).values(**adapter_row("x")))
        pk = connection.execute(select(Adapter.pk)).scalar_one()
        row = search_row(name="x", version=None, author=None, tags=[], words=[], description=text, notes=None)
        connection.execute(insert(AdapterSearch).values(adapter_pk=pk, **row))
    run = data.draw(st.sampled_from(runs))
    start = data.draw(st.integers(0, len(run) - 1))
    part = run[start : data.draw(st.integers(start + 1, len(run)))]
    other = data.draw(CJK)
    for question in (part, other):
        assert bool(_found(database, question)) == (question in text)
        with database.read() as connection:
            assert bool(found_by(connection, question, limit=1)) == (question in text)
            assert occurrences(connection, question, limit=5) == int(question in text)


@given(st.text(max_size=60))
@hypothesis_settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_question_is_syntax(filled: Database, question: str) -> None:
    _found(filled, question)


@pytest.mark.parametrize(
    "question", ['" OR "', "name:x", "a AND NOT b", "'; DROP TABLE adapters; --", "x*", "^a", "(", "a\x00b"]
)
def test_operators_are_words(filled: Database, question: str) -> None:
    _found(filled, question)


@given(st.text())
def test_segmenting_is_stable(text: str) -> None:
    assert segment(segment(text)).split() is not None
    assert fold(fold(text)) == fold(fold(fold(text)))


@given(st.text(st.one_of(st.characters(codec="ascii"), st.characters(max_codepoint=0x2FFF))))
@example("v2.5-turbo é")
def test_words_are_cut_alike_by_bytes_and_by_characters(text: str) -> None:
    # Radicals and jamo fold to characters that are cut into bigrams, which is another test's matter.
    assume(all(ord(character) < 0x3040 for character in fold(text)))
    assert segment(text).split() == re.findall(r"[^\W_]+", fold(text))


def test_a_pasted_page_is_cut() -> None:
    assert len(parse("word " * 500).phrases) == MAX_TERMS
