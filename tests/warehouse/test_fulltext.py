import re

import pytest
from hypothesis import HealthCheck, assume, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import insert, select

from tests.warehouse.test_facets import adapter_row
from warehouse.engine import Database
from warehouse.fulltext import MAX_TERMS, fold, parse, search_row, segment
from warehouse.models import Adapter, AdapterSearch
from warehouse.queries.matching import matches

TEXTS = {
    "plain": "Knitted sweater style, warm colours",
    "japanese": "東京の夜景 スタイル",
    "chinese": "水墨画风格",
    "korean": "한국 전통 의상",
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
        ("full", ["wide"]),
        ("neon light", ["quoted"]),
        ("nothing", []),
        ("", []),
        ("!!! ???", []),
    ):
        assert _found(filled, question) == expected, question


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
