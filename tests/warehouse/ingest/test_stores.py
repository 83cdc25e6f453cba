"""Libraries in an S3-compatible store, which a real server process of a package stands for."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Table, select

from tests.databases import migrated_sqlite
from tests.stores import PAGE, Asked, Refusal, Store
from tests.warehouse.ingest.library import Library, model, sha256, version, weights
from warehouse import storage
from warehouse.engine import connect
from warehouse.ingest import LibraryError, library_signature, plan_sync
from warehouse.models import Base
from warehouse.safetensors import objects
from warehouse.samples import generate_library
from warehouse.settings import Settings
from warehouse.storage import StoreUrl, bucket_of

PREFIX = "models/löras #1"
_TABLES = (
    "bundles",
    "files",
    "inspections",
    "documents",
    "document_contents",
    "hash_claims",
    "findings",
    "adapters",
    "adapter_details",
    "adapter_tags",
    "adapter_search",
    "duplicates",
    "community_statistics",
    "facet_counts",
)
_OF_THE_PLACE = {
    "id",
    "inode",
    "mtime_ns",
    "hashed_mtime_ns",
    "read_mtime_ns",
    "json_file_mtime",
    "found_at",
    "read_at",
}
_OF_THE_PLACE |= {"inspected_at", "first_seen_at", "last_ingested_at", "created_at", "updated_at", "revision"}
_OF_THE_PLACE |= {"built_revision", "derived_digest"}
"""Columns that say when something was read or where it lay."""


@pytest.fixture
def stored(tmp_path: Path, settings: Settings, store: Store) -> Iterator[Library]:
    """A library in a store, over SQLite."""
    database = connect(f"sqlite:///{migrated_sqlite(tmp_path / 'stored.sqlite3')}")
    (tmp_path / "unused").mkdir()
    yield Library(tmp_path / "unused", database, store.settings(settings))
    database.dispose()


def rows(library: Library, root: str, *, numbered: bool = True) -> dict[str, list[str]]:
    """Every row of the library as text, without what differs between places; paths from the root on.

    With `numbered=False` also without the numbers of rows, which say in which order they were written.
    """
    found: dict[str, list[str]] = {}
    with library.database.read() as connection:
        for name in _TABLES:
            table: Table = Base.metadata.tables[name]
            columns = [
                column
                for column in table.c
                if column.name not in _OF_THE_PLACE and (numbered or not column.name.endswith("pk"))
            ]
            found[name] = sorted(repr(tuple(row)).replace(root, "ROOT") for row in connection.execute(select(*columns)))
    return found


def test_a_library_in_a_store_gives_the_rows_of_the_same_folder(
    library: Library, stored: Library, store: Store
) -> None:
    generate_library(library.root, adapters=60, seed=3)
    store.put_folder(library.root, PREFIX)
    library.sync()
    stored.sync(roots=[StoreUrl(store.bucket, PREFIX)])
    here, there = rows(library, str(library.root)), rows(stored, store.url(PREFIX))
    assert len(here["adapters"]) > 60
    for name in _TABLES:
        assert there[name] == here[name], name
    assert {asked.method for asked in store.wire.asked} == {"GET"}
    assert sum("continuation-token" in asked.query for asked in store.wire.asked) > 1


def states(library: Library, table: str = "files") -> list[tuple[str, str]]:
    """Names of files or documents with their states."""
    return [
        (path.rpartition("/")[2], state)
        for path, state in library.query(f"SELECT path, state FROM {table} ORDER BY path")
    ]


def of_keys(store: Store) -> list[Asked]:
    """The requests for objects, without those for listings."""
    return [asked for asked in store.wire.asked if asked.key]


def test_requests_are_few(stored: Library, store: Store) -> None:
    """Cold: two for each weight file (its header, its whole), one for each document; unchanged: listings alone."""
    for number in range(10):
        store.put(f"{number}.safetensors", weights(number))
        store.put(f"{number}.json", json.dumps(model(number, version(number))).encode())
    root = StoreUrl(store.bucket)
    stored.sync(roots=[root])
    assert len(of_keys(store)) == 30
    assert store.wire.count() - 30 == 2  # the look whether the root is there, and the listing
    store.wire.asked.clear()
    reports = stored.sync(roots=[root])
    assert of_keys(store) == []
    assert store.wire.count() == 2
    assert [report.changed for report in reports.values()] == [0, 0, 0, 0]


def test_what_changed_is_read_again_and_nothing_else(stored: Library, store: Store) -> None:
    root = StoreUrl(store.bucket)
    for name in ("a", "b", "c"):
        store.put(f"{name}.safetensors", weights(1))
    stored.sync(roots=[root])
    store.wire.asked.clear()
    # Of the same size, and within the same second, which is all that a store says of the time.
    store.put("b.safetensors", weights(2))
    store.delete("c.safetensors")
    stored.sync(roots=[root])
    assert {asked.key for asked in of_keys(store)} == {"b.safetensors"}
    assert states(stored) == [("a.safetensors", "present"), ("b.safetensors", "present"), ("c.safetensors", "missing")]
    assert stored.query("SELECT sha256 FROM files WHERE path LIKE '%/b.safetensors'") == [(sha256(weights(2)).lower(),)]


def test_an_object_replaced_while_it_is_read_is_never_half_hashed(
    stored: Library, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "PART_BYTES", 1_024)
    old, new = weights(1, rank=16), weights(2, rank=16)
    store.put("a.safetensors", old)

    def replace(asked: Asked) -> None:
        if asked.if_match is not None and store.wire.before is not None:
            store.wire.before = None
            store.put("a.safetensors", new)

    store.wire.before = replace
    reports = stored.sync(roots=[StoreUrl(store.bucket)])
    assert store.wire.before is None
    assert reports["inspections"].details["problems"] == {"changed_while_read": 1}
    assert stored.query("SELECT state, sha256 FROM files") == [("present", None)]
    stored.sync(roots=[StoreUrl(store.bucket)])
    assert stored.query("SELECT state, sha256 FROM files") == [("present", sha256(new).lower())]
    assert stored.adapter().file_state == "present"


def test_a_part_that_breaks_off_is_asked_for_again_alone(
    stored: Library, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "PART_BYTES", 8_192)
    content = weights(1, rank=16)
    store.put("a.safetensors", content)
    broken: list[Asked] = []

    def break_off(asked: Asked) -> int | None:
        if asked.if_match is None or broken:
            return None
        broken.append(asked)
        return 100

    store.wire.before = break_off
    stored.sync(roots=[StoreUrl(store.bucket)])
    assert stored.query("SELECT sha256 FROM files") == [(sha256(content).lower(),)]
    parts = [asked.range for asked in of_keys(store) if asked.if_match is not None]
    assert len(broken) == 1
    assert len(set(parts)) == -(-len(content) // 8_192) - 1
    assert len(parts) > len(set(parts))


def test_a_store_that_goes_away_while_it_is_read_loses_nothing(library: Library, stored: Library, store: Store) -> None:
    generate_library(library.root, adapters=12, seed=5)
    store.put_folder(library.root, PREFIX)
    root = StoreUrl(store.bucket, PREFIX)

    def away(asked: Asked) -> None:
        if len(of_keys(store)) > 5:
            raise Refusal(0)

    store.wire.before = away
    stored.sync(roots=[root])
    assert "missing" not in {state for _, state in [*states(stored), *states(stored, "documents")]}
    assert "unreadable" in {state for _, state in states(stored, "documents")}
    with pytest.raises(LibraryError, match="cannot be listed"):
        stored.sync(roots=[root])
    store.wire.before = None
    stored.sync(roots=[root])
    library.sync()
    here = rows(library, str(library.root), numbered=False)
    there = rows(stored, store.url(PREFIX), numbered=False)
    for name in set(_TABLES) - {"facet_counts"}:
        assert there[name] == here[name], name


def test_a_listing_that_breaks_off_between_its_pages_loses_nothing(
    stored: Library, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "PAGE", PAGE)
    for number in range(PAGE + 10):
        store.put(f"{number:03}.safetensors", b"")
    root = StoreUrl(store.bucket)
    stored.sync(roots=[root])

    def break_off(asked: Asked) -> None:
        if "continuation-token" in asked.query:
            raise Refusal(0)

    store.wire.before = break_off
    store.delete("000.safetensors")
    stored.sync(roots=[root])
    assert [finding.path for finding in stored.findings("folder_unreadable")] == [store.url()]
    assert {state for _, state in states(stored)} == {"present"}
    store.wire.before = None
    stored.sync(roots=[root])
    assert [name for name, state in states(stored) if state == "missing"] == ["000.safetensors"]


def test_a_known_store_that_cannot_be_reached_is_a_disk_that_is_not_mounted(
    tmp_path: Path, stored: Library, store: Store
) -> None:
    store.put("a.safetensors", weights(1))
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "b.safetensors").write_bytes(weights(2))
    stored.sync(roots=[StoreUrl(store.bucket), tmp_path / "folder"])

    def refuse(asked: Asked) -> None:
        raise Refusal(503)

    store.wire.before = refuse
    from warehouse.ingest import scan_library

    scan_library(stored.database, stored.settings)
    (finding,) = stored.findings("root_not_there")
    assert finding.path == store.url()
    assert states(stored) == [("b.safetensors", "present"), ("a.safetensors", "present")]


def test_credentials_that_may_not_list_hide_everything_and_lose_nothing(stored: Library, store: Store) -> None:
    store.put("a.safetensors", weights(1))
    stored.sync(roots=[StoreUrl(store.bucket)])

    def deny(asked: Asked) -> None:
        raise Refusal(403, "<Error><Code>AccessDenied</Code></Error>")

    store.wire.before = deny
    with pytest.raises(LibraryError, match="refuses it to these credentials"):
        stored.sync(roots=[StoreUrl(store.bucket)])
    assert states(stored) == [("a.safetensors", "present")]


def test_an_object_that_may_not_be_read_is_said_to_be_unreadable(stored: Library, store: Store) -> None:
    store.put("a.safetensors", weights(1))
    store.put("a.json", json.dumps(model(1, version(1))).encode())

    def deny(asked: Asked) -> None:
        if asked.key:
            raise Refusal(403, "<Error><Code>AccessDenied</Code></Error>")

    store.wire.before = deny
    stored.sync(roots=[StoreUrl(store.bucket)])
    ((reason,),) = stored.query("SELECT reason FROM documents WHERE state = 'unreadable'")
    assert "the store refuses it to these credentials" in reason
    assert stored.query("SELECT problem FROM inspections") == [("permission",)]
    store.wire.before = None
    stored.sync(roots=[StoreUrl(store.bucket)])
    assert stored.query("SELECT state FROM documents") == [("present",)]
    assert stored.query("SELECT problem FROM inspections") == [(None,)]


def test_a_key_that_is_no_path_hides_its_folder_alone(stored: Library, store: Store) -> None:
    root = StoreUrl(store.bucket, "lib")
    for key in ("lib/a/1.safetensors", "lib/b/2.safetensors", "lib/c/3.safetensors", "lib/0.safetensors"):
        store.put(key, weights(len(key) + ord(key[4])))
    store.put("lib/b/deep/4.safetensors", weights(9))
    stored.sync(roots=[root])
    store.put("lib/b/tab\there.txt", b"")
    store.delete("lib/b/2.safetensors")
    store.delete("lib/c/3.safetensors")
    stored.sync(roots=[root])
    (finding,) = stored.findings("folder_unreadable")
    assert finding.path == store.url("lib/b")
    assert "tab" in finding.message
    assert dict(states(stored)) == {
        "0.safetensors": "present",
        "1.safetensors": "present",
        "2.safetensors": "present",
        "3.safetensors": "missing",
        "4.safetensors": "present",
    }


def test_an_emptied_store_is_believed_only_if_forced(stored: Library, store: Store) -> None:
    store.put("a.safetensors", weights(1))
    root = StoreUrl(store.bucket)
    stored.sync(roots=[root])
    store.delete("a.safetensors")
    with pytest.raises(LibraryError, match="no weight file and no metadata document"):
        stored.sync(roots=[root])
    assert states(stored) == [("a.safetensors", "present")]
    stored.sync(roots=[root], force=True)
    assert states(stored) == [("a.safetensors", "missing")]


def test_a_bucket_that_is_not_there_is_no_empty_library(stored: Library, store: Store) -> None:
    with pytest.raises(LibraryError, match="NoSuchBucket"):
        stored.sync(roots=[StoreUrl("never-made")])


def test_hidden_and_foreign_folders_are_left_out_below_the_root(stored: Library, store: Store) -> None:
    root = StoreUrl(store.bucket, ".hidden/lib")
    for key in (".hidden/lib/a.safetensors", ".hidden/lib/.trash/b.safetensors", ".hidden/lib/__MACOSX/c.safetensors"):
        store.put(key, weights(1))
    stored.sync(roots=[root])
    assert states(stored) == [("a.safetensors", "present")]


def test_a_moved_object_keeps_its_adapter(stored: Library, store: Store) -> None:
    root = StoreUrl(store.bucket)
    store.put("old/a.safetensors", weights(1))
    store.put("other.safetensors", weights(2))
    stored.sync(roots=[root])
    before = {row.file_path: row.id for row in stored.adapters()}
    store.put("new/a.safetensors", weights(1))
    store.delete("old/a.safetensors")
    stored.sync(roots=[root])
    after = {row.file_path: row.id for row in stored.adapters()}
    assert after[store.url("new/a.safetensors")] == before[store.url("old/a.safetensors")]


def test_the_signature_tells_an_edit_and_is_what_the_scan_saw(stored: Library, store: Store) -> None:
    root = StoreUrl(store.bucket)
    store.put("a.safetensors", weights(1))
    stored.sync(roots=[root])
    seen = library_signature(stored.settings, [root])
    assert stored.query("SELECT signature FROM roots") == [(seen,)]
    store.put("a.safetensors", weights(2))
    assert library_signature(stored.settings, [root]) != seen


def test_the_watch_lists_a_store_no_more_often_than_it_is_told_to(stored: Library, store: Store) -> None:
    root = StoreUrl(store.bucket)
    store.put("a.safetensors", weights(1))
    patient = store.settings(stored.settings, library_poll_seconds=3600.0)
    seen = library_signature(patient, [root])
    store.put("a.safetensors", weights(2))
    store.wire.asked.clear()
    assert library_signature(patient, [root]) == seen
    assert store.wire.count() == 0


def test_a_dry_run_says_what_a_sync_would_do(stored: Library, store: Store) -> None:
    root = StoreUrl(store.bucket)
    store.put("a.safetensors", weights(1))
    assert plan_sync(stored.database, stored.settings, [root]).counts == {"new": 1}
    stored.sync(roots=[root])
    assert plan_sync(stored.database, stored.settings, [root]).changes == []


def test_a_document_beyond_the_limit_is_not_taken(stored: Library, store: Store) -> None:
    store.put("a.json", b"[" + b" " * 5_000 + b"]")
    small = store.settings(stored.settings, max_document_bytes=1_024)
    Library(stored.root, stored.database, small).sync(roots=[StoreUrl(store.bucket)])
    ((reason_code, size),) = stored.query("SELECT reason_code, size FROM documents")
    assert (reason_code, size) == ("too_large", 5_002)


def test_an_empty_object_is_an_empty_file(stored: Library, store: Store) -> None:
    store.put("a.safetensors", b"")
    stored.sync(roots=[StoreUrl(store.bucket)])
    assert stored.query("SELECT problem FROM inspections") == [("empty_file",)]


def test_the_reader_of_a_library_has_no_way_to_write(stored: Library, store: Store) -> None:
    bucket: Any = bucket_of(store.bucket, stored.settings.library_access)
    verbs = ("put", "write", "delete", "remove", "copy", "rename", "upload", "create")
    assert not [name for name in dir(bucket) if name.strip("_").startswith(verbs)]
