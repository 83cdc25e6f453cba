"""Previews of libraries in stores: sent on as they lie, and nothing beyond the roots."""

from collections.abc import Callable

import httpx
import pytest

from tests.stores import KEY, Asked, Refusal, Store
from tests.warehouse.queries.library import adapter_values, insert_adapters
from warehouse import storage
from warehouse.engine import Database
from warehouse.ingest import roots
from warehouse.storage import StoreUrl

PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8


@pytest.fixture
def preview(
    sqlite_database: Database, store: Store, serve: Callable[..., httpx.Client]
) -> Callable[..., httpx.Response]:
    """Asks for the preview of an adapter whose row names a path; `lib` is a root."""
    with sqlite_database.write() as connection:
        roots.register(connection, [StoreUrl(store.bucket, "lib")])
    store.put("lib/a.png", PICTURE)
    store.put("private/a.png", PICTURE)
    client = serve(sqlite_database, library_s3_endpoint=store.wire.url, library_s3_key=KEY, s3_retry_seconds=0.0)
    made: list[str] = []

    def ask(path: str, **headers: str) -> httpx.Response:
        values = adapter_values(len(made), preview_path=path)
        insert_adapters(sqlite_database, [values])
        made.append(path)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return client.get(f"/api/v1/adapters/{values['id']}/preview", headers=named)

    return ask


def test_a_preview_in_a_store_is_sent_as_it_lies(store: Store, preview: Callable[..., httpx.Response]) -> None:
    answer = preview(store.url("lib/a.png"))
    assert (answer.status_code, answer.content) == (200, PICTURE)
    assert answer.headers["content-type"] == "image/png"
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
    again = preview(store.url("lib/a.png"), If_None_Match=answer.headers["etag"])
    assert (again.status_code, again.content) == (304, b"")
    assert {asked.method for asked in store.wire.asked} == {"GET"}
    assert len(store.wire.asked) == 2


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [
        ("bytes=0-3", 0, 4),
        ("bytes=8-", 8, len(PICTURE)),
        ("bytes=100-1699", 100, 1_700),
        ("bytes=-5", len(PICTURE) - 5, len(PICTURE)),
    ],
)
def test_a_range_of_it_is_that_range(
    store: Store,
    preview: Callable[..., httpx.Response],
    monkeypatch: pytest.MonkeyPatch,
    asked: str,
    start: int,
    stop: int,
) -> None:
    monkeypatch.setattr(storage, "STREAM_BYTES", 500)
    answer = preview(store.url("lib/a.png"), Range=asked)
    assert len(store.wire.asked) == -(-(stop - start) // 500)
    assert (answer.status_code, answer.content) == (206, PICTURE[start:stop])
    assert answer.headers["content-range"] == f"bytes {start}-{stop - 1}/{len(PICTURE)}"


def test_a_large_one_is_read_in_parts_of_one_version(
    store: Store, preview: Callable[..., httpx.Response], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(storage, "STREAM_BYTES", 1_000)
    assert preview(store.url("lib/a.png")).content == PICTURE
    assert [asked.if_match is not None for asked in store.wire.asked] == [False, True, True]


def test_a_range_beyond_its_end_is_refused(store: Store, preview: Callable[..., httpx.Response]) -> None:
    assert preview(store.url("lib/a.png"), Range="bytes=100000-").status_code == 416


def test_what_lies_beside_the_roots_is_not_asked_for(store: Store, preview: Callable[..., httpx.Response]) -> None:
    for key in ("private/a.png", "lib-of-another/a.png"):
        assert preview(store.url(key)).status_code == 404
    assert store.wire.asked == []


def test_a_store_that_is_away_is_no_missing_picture(store: Store, preview: Callable[..., httpx.Response]) -> None:
    def away(asked: Asked) -> None:
        raise Refusal(0)

    assert preview(store.url("lib/gone.png")).status_code == 404
    store.wire.before = away
    answer = preview(store.url("lib/a.png"))
    assert answer.status_code == 503
    assert store.bucket not in answer.text
