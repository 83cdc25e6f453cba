"""Generations in a store: published there before the pointer moves, got by readers that share the database alone."""

import json
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import select

from tests.stores import Asked, Refusal, Store
from warehouse import generations, published
from warehouse.engine import Database
from warehouse.generations import (
    Manifest,
    OnItsWayError,
    PublicationError,
    at_hand,
    collect,
    current,
    publish,
    readable,
    roll_back,
)
from warehouse.models import Generation
from warehouse.settings import Settings

KIND = "indices/recommend"
KEY = "publisher:secret"


@pytest.fixture
def builder(store: Store, settings: Settings) -> Settings:
    """Settings of a process that publishes into the store."""
    return publishing(store, settings, settings.data_dir)


@pytest.fixture
def reader(store: Store, settings: Settings, tmp_path: Path) -> Settings:
    """Settings of a process on another machine: the same store and an empty data folder."""
    return publishing(store, settings, tmp_path / "elsewhere")


def publishing(store: Store, settings: Settings, data_dir: Path) -> Settings:
    return store.settings(
        settings,
        data_dir=data_dir,
        published_url=store.url("our/files"),
        published_s3_endpoint=store.wire.url,
        published_s3_key=KEY,
    )


def build(content: str) -> Callable[[Path], Manifest]:
    """A generation of a few files, one of them large enough to be uploaded in parts, one empty, one read-only."""

    def write(folder: Path) -> Manifest:
        (folder / "inner").mkdir()
        (folder / "inner" / "data.bin").write_bytes(content.encode() * 3_000_000)
        (folder / "empty").touch()
        (folder / "fixed.txt").write_text(content)
        (folder / "fixed.txt").chmod(0o444)
        return {"content": content}

    return write


def folders(parent: Path) -> list[str]:
    return [path.name for path in parent.iterdir() if path.is_dir()]


def keys(store: Store) -> set[str]:
    """Every key in the bucket."""
    from warehouse.storage import Access, Bucket

    bucket = Bucket(store.bucket, Access(endpoint=store.server, key_id="owner", secret="owner"))
    return {item.key for page in bucket.pages("") for item in page}


def test_a_reader_with_an_empty_folder_gets_what_was_published_once(
    database: Database, builder: Settings, reader: Settings, store: Store
) -> None:
    made = publish(database, builder, KIND, build("one"))
    found = current(database, reader, KIND)
    assert found is not None
    assert found.name == made.name
    assert not found.path.exists()
    at_hand(database, reader, found)
    assert found.path != made.path
    for inner in ("inner/data.bin", "empty", "fixed.txt", "manifest.json"):
        assert (found.path / inner).read_bytes() == (made.path / inner).read_bytes()
    assert (found.path / "fixed.txt").stat().st_mode & 0o777 == 0o444
    store.wire.asked.clear()
    at_hand(database, reader, found)
    assert store.wire.asked == []
    assert folders(found.path.parent) == [found.name]


def test_many_readers_at_once_get_it_once(
    sqlite_database: Database, builder: Settings, reader: Settings, store: Store
) -> None:
    publish(sqlite_database, builder, KIND, build("one"))
    found = current(sqlite_database, reader, KIND)
    assert found is not None
    store.wire.asked.clear()
    readers = [threading.Thread(target=at_hand, args=(sqlite_database, reader, found)) for _ in range(6)]
    for thread in readers:
        thread.start()
    for thread in readers:
        thread.join()
    assert (found.path / "fixed.txt").read_text() == "one"
    got = [(asked.key, asked.range) for asked in store.wire.asked]
    assert len(got) == len(set(got)) == 6, "five files, the large one in two parts"


def test_who_has_an_older_one_does_not_wait(
    sqlite_database: Database, builder: Settings, reader: Settings, store: Store
) -> None:
    publish(sqlite_database, builder, KIND, build("one"))
    found = current(sqlite_database, reader, KIND)
    assert found is not None
    goes_on = threading.Event()

    def hold(asked: Asked) -> None:
        goes_on.wait()

    store.wire.before = hold
    with pytest.raises(OnItsWayError):
        at_hand(sqlite_database, reader, found, wait=False)
    goes_on.set()
    at_hand(sqlite_database, reader, found)
    assert (found.path / "fixed.txt").read_text() == "one"


def test_an_older_one_is_read_while_the_store_is_away(
    sqlite_database: Database, builder: Settings, reader: Settings, store: Store
) -> None:
    assert readable(sqlite_database, reader, KIND) is None
    first = publish(sqlite_database, builder, KIND, build("one"))
    found = readable(sqlite_database, reader, KIND)
    assert found is not None
    assert (found.name, found.path.is_dir()) == (first.name, True)
    second = publish(sqlite_database, builder, KIND, build("two"))

    def deny(asked: Asked) -> None:
        raise Refusal(403, "<Error><Code>AccessDenied</Code></Error>")

    store.wire.before = deny
    for _ in range(3):
        found = readable(sqlite_database, reader, KIND)
        assert found is not None
        assert found.name == first.name
    store.wire.before = None
    while found is None or found.name != second.name:
        time.sleep(0.01)
        found = readable(sqlite_database, reader, KIND)
    assert (found.path / "fixed.txt").read_text() == "two"


@pytest.mark.parametrize("nth", [1, 3, 5, 7])
def test_an_upload_that_fails_moves_nothing_and_leaves_nothing(
    sqlite_database: Database, builder: Settings, store: Store, nth: int
) -> None:
    first = publish(sqlite_database, builder, KIND, build("one"))
    before, written = keys(store), [0]

    def fail(asked: Asked) -> None:
        if asked.method in ("PUT", "POST") and "delete" not in asked.query:
            written[0] += 1
            if written[0] >= nth:
                raise Refusal(403, "<Error><Code>AccessDenied</Code></Error>")

    store.wire.before = fail
    with pytest.raises(PublicationError, match="refuses it to these credentials"):
        publish(sqlite_database, builder, KIND, build("two"))
    store.wire.before = None
    now = current(sqlite_database, builder, KIND)
    assert now is not None
    assert now.name == first.name
    assert keys(store) == before
    assert [path.name for path in first.path.parent.iterdir()] == [first.name]


def test_a_store_that_dies_during_an_upload_keeps_no_rest_for_ever(
    sqlite_database: Database, builder: Settings, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(sqlite_database, builder, KIND, build("one"))
    before, written = keys(store), [0]

    def die(asked: Asked) -> None:
        written[0] += asked.method == "PUT"
        if written[0] > 2:
            raise Refusal(0)

    store.wire.before = die
    with pytest.raises(PublicationError):
        publish(sqlite_database, builder, KIND, build("two"))
    store.wire.before = None
    assert keys(store) > before
    collect(sqlite_database, builder, KIND)
    assert keys(store) > before, "another process may be at it"
    monkeypatch.setattr(generations, "_ABANDONED_AFTER", generations.timedelta(seconds=-1))
    monkeypatch.setattr("warehouse.storage._AWAY_SECONDS", 0.0)
    published._bucket.cache_clear()
    collect(sqlite_database, builder, KIND)
    assert keys(store) == before


def test_old_generations_leave_the_store_and_every_cache(
    database: Database, builder: Settings, reader: Settings, store: Store
) -> None:
    names = []
    for content in ("one", "two", "three"):
        names.append(publish(database, builder, KIND, build(content)).name)
        found = current(database, reader, KIND)
        assert found is not None
        at_hand(database, reader, found)
    assert collect(database, builder, KIND, keep=2) == names[:1]
    assert {key.split("/")[5] for key in keys(store)} == set(names[1:])
    publish(database, builder, KIND, build("four"))
    found = current(database, reader, KIND)
    assert found is not None
    at_hand(database, reader, found)
    assert set(folders(found.path.parent)) == {*names[1:], found.name}


def test_a_generation_whose_store_is_away_is_collected_later(
    sqlite_database: Database, builder: Settings, store: Store
) -> None:
    names = [publish(sqlite_database, builder, KIND, build(content)).name for content in ("one", "two")]

    def deny(asked: Asked) -> None:
        raise Refusal(403, "<Error><Code>AccessDenied</Code></Error>")

    store.wire.before = deny
    assert collect(sqlite_database, builder, KIND, keep=1) == []
    store.wire.before = None
    assert collect(sqlite_database, builder, KIND, keep=1) == names[:1]


def test_a_roll_back_is_got_too(sqlite_database: Database, builder: Settings, reader: Settings, store: Store) -> None:
    first = publish(sqlite_database, builder, KIND, build("one"))
    publish(sqlite_database, builder, KIND, build("two"))
    roll_back(sqlite_database, KIND, first.name)
    found = current(sqlite_database, reader, KIND)
    assert found is not None
    assert (at_hand(sqlite_database, reader, found).path / "fixed.txt").read_text() == "one"


@pytest.mark.parametrize("inner", ["fixed.txt", "files.json"])
def test_what_was_not_published_is_not_taken(
    sqlite_database: Database, builder: Settings, reader: Settings, store: Store, inner: str
) -> None:
    made = publish(sqlite_database, builder, KIND, build("one"))
    key = f"our/files/generations/{KIND}/{made.name}/{inner}"
    assert key in keys(store)
    store.put(key, b"two" if inner == "fixed.txt" else json.dumps({"files": {}}).encode())
    found = current(sqlite_database, reader, KIND)
    assert found is not None
    with pytest.raises(OSError, match="is not what was published"):
        at_hand(sqlite_database, reader, found)
    assert folders(found.path.parent) == []


def test_without_a_store_nothing_is_asked_and_nothing_is_said(
    sqlite_database: Database, settings: Settings, store: Store
) -> None:
    made = publish(sqlite_database, settings, KIND, build("one"))
    assert generations.is_kept(settings, made)
    with sqlite_database.read() as connection:
        manifest = connection.execute(select(Generation.manifest)).scalar_one()
    assert manifest == {"content": "one"}


def test_what_was_published_before_there_was_a_store_is_published_again(
    sqlite_database: Database, settings: Settings, builder: Settings
) -> None:
    publish(sqlite_database, settings, KIND, build("one"))
    before = current(sqlite_database, builder, KIND)
    assert before is not None
    assert not generations.is_kept(builder, before)
    publish(sqlite_database, builder, KIND, build("one"))
    now = current(sqlite_database, builder, KIND)
    assert now is not None
    assert generations.is_kept(builder, now)
