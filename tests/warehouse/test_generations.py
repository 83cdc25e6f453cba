import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import Connection, event
from sqlalchemy.exc import OperationalError

from warehouse.engine import Database
from warehouse.generations import Manifest, PublicationError, collect, current, current_pk, publish, roll_back
from warehouse.settings import Settings

KIND = "marts/analytics"


def _build(content: str) -> Callable[[Path], Manifest]:
    def build(folder: Path) -> Manifest:
        (folder / "data.txt").write_text(content)
        return {"content": content, "path": folder}

    return build


def test_publish_read_roll_back(database: Database, settings: Settings) -> None:
    assert current(database, settings, KIND) is None
    first = publish(database, settings, KIND, _build("one"))
    second = publish(database, settings, KIND, _build("two"))
    now = current(database, settings, KIND)
    assert now is not None
    assert (now.name, now.manifest["content"]) == (second.name, "two")
    assert (now.path / "data.txt").read_text() == "two"
    assert (first.path / "data.txt").read_text() == "one"
    roll_back(database, KIND, first.name, note="two was wrong")
    with database.read() as connection:
        assert current_pk(connection, KIND) == first.pk
    with pytest.raises(LookupError):
        roll_back(database, KIND, "never")


def test_a_failed_build_moves_nothing_and_leaves_nothing(database: Database, settings: Settings) -> None:
    first = publish(database, settings, KIND, _build("one"))

    def full(folder: Path) -> Manifest:
        (folder / "part").write_text("x")
        raise OSError(28, "No space left on device")

    with pytest.raises(PublicationError, match="No space left on device"):
        publish(database, settings, KIND, full)

    def broken(folder: Path) -> Manifest:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        publish(database, settings, KIND, broken)
    now = current(database, settings, KIND)
    assert now is not None
    assert now.name == first.name
    assert [path.name for path in (settings.generations_dir / KIND).iterdir()] == [first.name]


def test_a_finish_that_fails_does_not_publish(database: Database, settings: Settings) -> None:
    def finish(folder: Path, manifest: Manifest) -> None:
        assert not folder.name.startswith(".")
        raise ValueError

    with pytest.raises(ValueError):
        publish(database, settings, KIND, _build("one"), finish=finish)
    assert current(database, settings, KIND) is None
    assert list((settings.generations_dir / KIND).iterdir()) == []


def test_collecting_keeps_the_newest_and_the_current(database: Database, settings: Settings) -> None:
    published = [publish(database, settings, KIND, _build(str(number))) for number in range(5)]
    roll_back(database, KIND, published[0].name)
    abandoned = settings.generations_dir / KIND / ".building-old"
    abandoned.mkdir()
    yesterday = time.time() - 2 * 86_400
    os.utime(abandoned, (yesterday, yesterday))
    whole = settings.generations_dir / KIND / "never-recorded"
    whole.mkdir()
    os.utime(whole, (yesterday, yesterday))
    fresh = settings.generations_dir / KIND / "being-recorded"
    fresh.mkdir()
    os.utime(published[4].path, (yesterday, yesterday))
    assert set(collect(database, settings, KIND, keep=2)) == {item.name for item in published[1:3]}
    kept = {path.name for path in (settings.generations_dir / KIND).iterdir()}
    assert kept == {published[0].name, published[3].name, published[4].name, fresh.name}
    with pytest.raises(LookupError):
        roll_back(database, KIND, published[1].name)


def test_a_commit_whose_answer_was_lost_takes_no_files_from_the_pointer(database: Database, settings: Settings) -> None:
    publish(database, settings, KIND, _build("one"))

    @event.listens_for(database.engine, "commit")
    def _lose(connection: Connection) -> None:
        # As when the server commits and is gone before it says so.
        connection.connection.driver_connection.commit()  # type: ignore[union-attr]
        raise OperationalError("COMMIT", {}, Exception("the connection was lost"))

    with pytest.raises(OperationalError):
        publish(database, settings, KIND, _build("two"))
    event.remove(database.engine, "commit", _lose)
    now = current(database, settings, KIND)
    assert now is not None
    assert now.manifest["content"] == "two"
    assert (now.path / "data.txt").read_text() == "two"


def test_a_commit_that_failed_leaves_no_files(database: Database, settings: Settings) -> None:
    first = publish(database, settings, KIND, _build("one"))

    @event.listens_for(database.engine, "commit")
    def _fail(_connection: Connection) -> None:
        raise OperationalError("COMMIT", {}, Exception("the disk is full"))

    with pytest.raises(OperationalError):
        publish(database, settings, KIND, _build("two"))
    event.remove(database.engine, "commit", _fail)
    now = current(database, settings, KIND)
    assert now is not None
    assert now.name == first.name
    assert [path.name for path in (settings.generations_dir / KIND).iterdir()] == [first.name]
