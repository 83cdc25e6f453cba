"""The word index as a generation: what it has, what a second one writes, what is newer, what stops it."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, update

from tests.warehouse.lexical.library import add, rename
from warehouse import generations, prompts
from warehouse.engine import Database
from warehouse.evaluation.metrics import Measure
from warehouse.evaluation.spot import SpotCheck
from warehouse.generations import Published
from warehouse.lexical import publishing, tokens
from warehouse.lexical.publishing import KIND, QualityFellError, publish_words
from warehouse.lexical.searching import LexicalSearcher
from warehouse.models import Adapter, utc_now
from warehouse.settings import Settings
from warehouse.vectors.filters import ANY, SearchFilter


@pytest.fixture
def library(database: Database) -> list[int]:
    """Twenty adapters, each with a word of its own in its example prompts."""
    return [
        add(database, number, f"Name{number}", f"a secret{number} place, red sky", base_model="SD 1.5")
        for number in range(20)
    ]


def found(searcher: LexicalSearcher, database: Database, prompt: str, narrowed: SearchFilter = ANY) -> list[int]:
    with database.read() as connection:
        terms = tokens.asked(prompts.parse(prompt))
        return [hit.number for hit in searcher.now(connection).search(terms, 3, narrowed)]


def test_everything_is_found_after_a_publication(database: Database, settings: Settings, library: list[int]) -> None:
    searcher = LexicalSearcher(database, settings)
    assert found(searcher, database, "secret7") == []
    published = publish_words(database, settings)
    assert (published.manifest["n"], published.manifest["anew"]) == (20, True)
    assert found(searcher, database, "secret7") == [library[7]]
    assert published.manifest["quality"]["queries"] == 20


def test_nothing_is_written_where_nothing_changed(database: Database, settings: Settings, library: list[int]) -> None:
    first = publish_words(database, settings)
    with database.write() as connection:
        connection.execute(update(Adapter).values(active=True, downloads=7, updated_at=utc_now()))
    assert publish_words(database, settings).pk == first.pk
    assert publish_words(database, settings, force=True).pk != first.pk
    assert len(library) == 20


def test_only_what_changed_is_written_and_the_generation_before_stays(
    database: Database, settings: Settings, library: list[int]
) -> None:
    first = publish_words(database, settings)
    rename(database, library[3], "Renamed")
    new = add(database, 50, "Newcomer", "a zebra")
    with database.write() as connection:
        connection.execute(delete(Adapter).where(Adapter.pk == library[0]))
    second = publish_words(database, settings)
    assert (second.manifest["n"], second.manifest["written"], second.manifest["anew"]) == (20, 2, False)
    searcher = LexicalSearcher(database, settings)
    assert found(searcher, database, "renamed") == [library[3]]
    assert found(searcher, database, "zebra") == [new]
    assert found(searcher, database, "name3") == []
    assert found(searcher, database, "secret0") == []
    generations.roll_back(database, KIND, first.name)
    assert found(LexicalSearcher(database, settings), database, "secret5") == [library[5]]


def prompts_of(searcher: LexicalSearcher, database: Database, *numbers: int) -> dict[int, int]:
    with database.read() as connection:
        return searcher.now(connection).prompts_of(numbers)


def test_example_prompts_are_counted_in_what_was_written_what_was_kept_and_what_is_newer(
    database: Database, settings: Settings, library: list[int]
) -> None:
    publish_words(database, settings)
    two = add(database, 50, "Newcomer", "a zebra", "two zebras")
    with database.write() as connection:
        connection.execute(delete(Adapter).where(Adapter.pk == library[0]))
    assert publish_words(database, settings).manifest["anew"] is False
    searcher = LexicalSearcher(database, settings)
    kept, gone, unknown = library[3], library[0], 10**9
    assert prompts_of(searcher, database, two, kept, gone, unknown) == {two: 2, kept: 1}
    newer = add(database, 51, "Latest", "one", "two", "three")
    assert prompts_of(searcher, database, newer, kept) == {newer: 3, kept: 1}


def test_a_generation_of_before_prompts_were_counted_says_so(
    database: Database, settings: Settings, library: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(publishing, "VERSION", publishing.VERSION - 1)
        publish_words(database, settings)
    searcher = LexicalSearcher(database, settings)
    terms = tokens.asked(prompts.parse("secret7"))
    with database.read() as connection:
        words = searcher.now(connection)
        assert [hit.number for hit in words.search(terms, 1, ANY)] == [library[7]]
        assert (words.tells_all, words.prompts_of(library), words.scores_by_field(terms, {library[7]: 1.0})) == (
            False,
            {},
            {},
        )
    # The next one is written anew.
    assert publish_words(database, settings).manifest["anew"] is True
    with database.read() as connection:
        assert searcher.now(connection).tells_all


def test_an_adapter_that_is_deleted_meanwhile_is_left_out(
    database: Database, settings: Settings, library: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    load = publishing.load_known
    monkeypatch.setattr(
        publishing, "load_known", lambda *given: [known for known in load(*given) if known.pk != library[7]]
    )
    published = publish_words(database, settings)
    assert (published.manifest["n"], published.manifest["written"]) == (19, 19)
    monkeypatch.undo()
    # It comes back with the next one, as it would if it had only been out of sight.
    assert publish_words(database, settings).manifest["n"] == 20
    assert found(LexicalSearcher(database, settings), database, "secret7") == [library[7]]


def test_much_change_is_written_anew(database: Database, settings: Settings, library: list[int]) -> None:
    publish_words(database, settings)
    for pk in library[:10]:
        rename(database, pk, f"Other {pk}")
    second = publish_words(database, settings)
    assert (second.manifest["n"], second.manifest["anew"]) == (20, True)
    assert found(LexicalSearcher(database, settings), database, "other") != []


def test_what_is_newer_than_the_index_is_found_at_once(
    database: Database, settings: Settings, library: list[int]
) -> None:
    publish_words(database, settings)
    searcher = LexicalSearcher(database, settings)
    assert found(searcher, database, "name4") == [library[4]]
    new = add(database, 60, "Newcomer", "a zebra in the rain")
    assert found(searcher, database, "zebra in the rain") == [new]
    rename(database, library[4], "Formerly Four")
    assert found(searcher, database, "formerly four") == [library[4]]
    assert found(searcher, database, "name4") == []
    with database.write() as connection:
        connection.execute(delete(Adapter).where(Adapter.pk == new))
    assert found(searcher, database, "zebra in the rain") == []
    with database.read() as connection:
        assert searcher.now(connection).is_complete


def test_more_new_adapters_than_are_held_are_not_called_complete(
    database: Database, settings: Settings, library: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish_words(database, settings)
    monkeypatch.setattr("warehouse.lexical.newer.MAX_ADAPTERS", 2)
    searcher = LexicalSearcher(database, settings)
    news = [add(database, 70 + number, f"Newcomer{number}", "a zebra") for number in range(3)]
    with database.read() as connection:
        assert not searcher.now(connection).is_complete
    assert found(searcher, database, "zebra") == news[1:]
    assert library


def test_what_example_prompts_have_of_a_prompt_is_told(
    database: Database, settings: Settings, library: list[int]
) -> None:
    publish_words(database, settings)
    new = add(database, 60, "Newcomer", "red sky, (a zebra:1.2)")
    searcher = LexicalSearcher(database, settings)
    asked = [tokens.fragment(each) for each in ("red sky", "a secret7 place", "(A zebra:1.2)", "nobody's")]
    with database.read() as connection:
        found = searcher.now(connection).fragments_of(asked, [library[7], library[8], new], limit=4)
        # All of them have the red sky, so it tells nothing.
        assert found == {library[7]: ["a_secret7_place"], library[8]: [], new: ["(a_zebra:1.2)"]}
        assert searcher.now(connection).fragments_of(asked, [], limit=4) == {}


def test_what_a_large_sync_wrote_before_its_index_is_not_newer(
    database: Database, settings: Settings, library: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("warehouse.lexical.newer._MAX_LOOKED_AT", 5)
    publish_words(database, settings)
    searcher = LexicalSearcher(database, settings)
    with database.read() as connection:
        assert searcher.now(connection).is_complete
    for number in range(6):
        add(database, 70 + number, f"Newcomer{number}", "a zebra")
    with database.read() as connection:
        assert not searcher.now(connection).is_complete
    assert library


def test_words_say_whether_they_are_of_the_published_index(
    database: Database, settings: Settings, library: list[int]
) -> None:
    searcher = LexicalSearcher(database, settings)
    with database.read() as connection:
        assert searcher.now(connection).is_current, "nothing was published"
    publish_words(database, settings)
    with database.read() as connection:
        assert searcher.now(connection).is_current
    rename(database, library[0], "Renamed")
    broken = publish_words(database, settings)
    (broken.path / publishing.INDEX_FOLDER / "meta.json").write_text("{", encoding="utf-8")
    with database.read() as connection:
        now = searcher.now(connection)
        assert not now.is_current
        assert now.over(connection).is_complete, "the one before it goes on answering"


def test_filters_are_hard(database: Database, settings: Settings, library: list[int]) -> None:
    other = add(database, 80, "Elsewhere", "a secret7 place", base_model="Pony", file_state="missing")
    publish_words(database, settings)
    searcher = LexicalSearcher(database, settings)
    assert set(found(searcher, database, "secret7")) == {library[7], other}
    assert found(searcher, database, "secret7", SearchFilter(base_model="Pony")) == [other]
    assert found(searcher, database, "secret7", SearchFilter(available_only=True)) == [library[7]]


def test_a_damaged_index_is_done_without_and_the_next_one_is_taken(
    database: Database, settings: Settings, library: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("warehouse.lexical.searching._REOPEN_SECONDS", 0.0)
    broken = publish_words(database, settings)
    (broken.path / publishing.INDEX_FOLDER / "meta.json").write_text("{", encoding="utf-8")
    searcher = LexicalSearcher(database, settings)
    assert found(searcher, database, "secret7") == []
    with database.read() as connection:
        assert not searcher.now(connection).is_complete
    publish_words(database, settings, force=True)
    assert found(searcher, database, "secret7") == [library[7]]


def flip(path: Path) -> None:
    """Turn one bit in the middle of a file, whose length and times stay."""
    stat, data = path.stat(), bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))


def _remove(published: Published, pattern: str) -> None:
    files = list(published.path.rglob(pattern))
    assert files
    for path in files:
        path.unlink()


def _cut(published: Published, pattern: str) -> None:
    files = list(published.path.rglob(pattern))
    assert files
    for path in files:
        os.truncate(path, 40)


@pytest.mark.parametrize("damage", [_remove, _cut])
@pytest.mark.parametrize("pattern", ["*.pos", "*.idx", "adapters.npy", "meta.json"])
def test_a_damaged_index_stops_no_question_and_is_written_anew_by_the_next_publication(
    sqlite_database: Database, settings: Settings, damage: Callable[[Published, str], None], pattern: str
) -> None:
    pk = add(sqlite_database, 1, "One", "a secret1 place")
    broken = publish_words(sqlite_database, settings)
    damage(broken, pattern)
    assert found(LexicalSearcher(sqlite_database, settings), sqlite_database, "secret1") == []
    mended = publish_words(sqlite_database, settings)
    assert mended.manifest["anew"]
    assert found(LexicalSearcher(sqlite_database, settings), sqlite_database, "secret1") == [pk]


def test_a_flipped_bit_is_found_before_anything_is_asked(sqlite_database: Database, settings: Settings) -> None:
    pk = add(sqlite_database, 1, "One", "a secret1 place")
    whole = publish_words(sqlite_database, settings)
    searcher = LexicalSearcher(sqlite_database, settings)
    assert found(searcher, sqlite_database, "secret1") == [pk]
    broken = publish_words(sqlite_database, settings, force=True)
    for path in (broken.path / publishing.INDEX_FOLDER).glob("*.store"):
        flip(path)
    # The generation before goes on answering, where it is open; who comes new does without.
    assert found(searcher, sqlite_database, "secret1") == [pk]
    assert searcher._open is not None
    assert searcher._open.pk == whole.pk
    assert found(LexicalSearcher(sqlite_database, settings), sqlite_database, "secret1") == []
    assert publish_words(sqlite_database, settings).manifest["anew"]


def test_damage_that_only_a_question_finds_is_told_once_and_then_done_without(
    sqlite_database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if it came after the index was opened.
    monkeypatch.setattr("warehouse.lexical.searching.require_whole", lambda _: None)
    pks = [add(sqlite_database, number, f"Name{number}", "red sky, a dragon") for number in range(300)]
    published = publish_words(sqlite_database, settings)
    for path in (published.path / publishing.INDEX_FOLDER).glob("*.idx"):
        data = path.read_bytes()
        middle = bytes(byte ^ 0x5A for byte in data[: len(data) - 400])
        path.write_bytes(middle + data[len(data) - 400 :])
    searcher = LexicalSearcher(sqlite_database, settings)
    with pytest.raises(OSError, match="is damaged"):
        found(searcher, sqlite_database, "red sky, a dragon")
    assert searcher.is_damaged
    assert found(searcher, sqlite_database, "red sky, a dragon") == []
    assert publish_words(sqlite_database, settings, force=True).manifest["n"] == len(pks)
    assert len(found(searcher, sqlite_database, "red sky, a dragon")) == 3
    assert not searcher.is_damaged


def test_an_index_in_a_read_only_folder_is_asked_and_left_alone(
    database: Database, settings: Settings, library: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = publish_words(database, settings).path / publishing.INDEX_FOLDER
    for lock in folder.glob("*.lock"):
        lock.unlink()
    before = sorted(folder.iterdir())
    # Whoever runs the tests as root could write to every folder.
    monkeypatch.setattr("warehouse.lexical.index.os.access", lambda *_: False)
    searcher = LexicalSearcher(database, settings)
    assert found(searcher, database, "secret7") == [library[7]]
    assert sorted(folder.iterdir()) == before


def _quality(value: float) -> Any:
    return lambda *_: SpotCheck(Measure(value, value - 0.02, value + 0.02), queries=200)


def test_a_worse_index_is_not_published(
    sqlite_database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(sqlite_database, 1, "One", "a first prompt")
    monkeypatch.setattr(publishing, "spot_check", _quality(0.9))
    first = publish_words(sqlite_database, settings)
    monkeypatch.setattr(publishing, "spot_check", _quality(0.7))
    with pytest.raises(QualityFellError, match=r"0\.700 of the cases, before in 0\.900.*LORA_MANAGER_QUALITY_DROP"):
        publish_words(sqlite_database, settings, force=True)
    current = generations.current(sqlite_database, settings, KIND)
    assert current is not None
    assert current.pk == first.pk
    accepting = settings.model_copy(update={"quality_drop": 0.25})
    assert publish_words(sqlite_database, accepting, force=True).pk != first.pk


def test_a_spot_check_of_few_prompts_stops_nothing(
    sqlite_database: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    pk = add(sqlite_database, 1, "One", "a first prompt")
    first = publish_words(sqlite_database, settings)
    assert first.manifest["quality"]["queries"] == 1
    rename(sqlite_database, pk, "Two")
    monkeypatch.setattr(publishing, "spot_check", lambda *_: SpotCheck(Measure(0.0, 0.0, 0.0), queries=1))
    assert publish_words(sqlite_database, settings).pk != first.pk
