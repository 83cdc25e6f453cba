"""Generated pictures over HTTP: listed, shown, rated, deleted, downloaded and exported."""

import hashlib
import io
import json
import re
import zipfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from sqlalchemy import insert

from serving import results
from serving.schemas.results import ImageResult
from tests.serving.conftest import KEYS
from tests.serving.generating import API
from tests.warehouse.pictures.test_pictures import age
from warehouse.engine import Database
from warehouse.ids import new_id
from warehouse.models import GeneratedImage, utc_now
from warehouse.pictures import PictureStore, sniff
from warehouse.queries import generated_images

NOW = utc_now()
KNIGHT = "a knight <lora:Ink Dragon:0.8>"


def picture(number: int, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.new("RGB", (32, 16), (number % 256, number // 256, 7)).save(stream, kind)
    return stream.getvalue()


class Gallery:
    """Pictures in the tables and in the folder that a server reads."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database, self.folder = database, folder
        self.store = PictureStore(folder)

    def add(self, data: bytes, **values: Any) -> str:
        """A picture that was made long ago."""
        self.store.put(data)
        age(self.folder)
        return self.add_row(data, **values)

    def add_row(self, data: bytes, **values: Any) -> str:
        """The row alone of a picture that is there."""
        kept = sniff(data)
        row: dict[str, Any] = {
            "id": new_id(),
            "job_id": new_id(),
            "position": 0,
            "mode": "sdnext",
            "sha256": hashlib.sha256(data).hexdigest(),
            "format": kept.format.value,
            "width": kept.width,
            "height": kept.height,
            "size": len(data),
            "seed": None,
            "prompt": KNIGHT,
            "infotext": None,
            "params": {},
            "created_at": NOW,
            "rating": None,
            "is_favorite": False,
        }
        with self.database.write() as connection:
            connection.execute(insert(GeneratedImage).values(**(row | values)))
        key: str = (row | values)["id"]
        return key


@pytest.fixture
def gallery(database: Database, client: httpx.Client, tmp_path: Path) -> Gallery:
    """With the server of `client` on the same folder."""
    assert client.get(f"{API}/results").json() == []
    return Gallery(database, tmp_path / "data" / "pictures")


def listed(client: httpx.Client, **params: Any) -> list[str]:
    answer = client.get(f"{API}/results", params=params)
    assert answer.status_code == httpx.codes.OK, answer.text
    return [item["id"] for item in answer.json()]


def test_what_is_not_known_is_absent(client: httpx.Client, gallery: Gallery) -> None:
    bare = gallery.add(picture(1), width=0, height=0)
    loras = [{"id": new_id(), "name": "Ink Dragon", "weight": 0.8}]
    params = {"steps": 20, "cfg_scale": 6.5, "sampler_name": "Euler", "lora_adapters": loras, "init_images": ["…"]}
    full = gallery.add(picture(2), params=params, seed=2**32 - 1, rating=4, is_favorite=True)
    shown = {item["id"]: item for item in client.get(f"{API}/results").json()}
    assert all(ImageResult.model_validate(item) for item in shown.values())
    required = {"id", "job_id", "created_at", "image_url", "sha256", "format", "size", "backend", "prompt"}
    assert shown[bare].keys() == {*required, "is_favorite"}
    more = {"steps": 20, "cfg_scale": 6.5, "sampler_name": "Euler", "seed": 2**32 - 1, "rating": 4, "loras": loras}
    assert shown[full] | more == shown[full]
    assert (shown[full]["width"], shown[full]["height"], shown[full]["is_favorite"]) == (32, 16, True)
    assert "init_images" not in shown[full]
    assert client.get(f"{API}/results/{full.upper()}").json()["id"] == full


def test_lists_are_paged_sorted_and_narrowed(client: httpx.Client, gallery: Gallery) -> None:
    prompts = ["b 100%", "A knight", "c", "a_horse", "d"]
    ids = [
        gallery.add(picture(number), prompt=prompt, created_at=NOW - timedelta(days=2 * (4 - number)))
        for number, prompt in enumerate(prompts)
    ]
    for position, rating in ((1, 5), (2, 2)):
        client.put(f"{API}/results/{ids[position]}/rating", json={"rating": rating})
    newest = ids[::-1]
    assert listed(client) == listed(client, sort="created_at") == listed(client, sort="-created_at") == newest
    assert listed(client, sort="created_at_asc") == ids
    assert listed(client, limit=2) == newest[:2]
    assert listed(client, page=2, page_size=2) == newest[2:4]
    assert listed(client, page=9, page_size=2) == []
    assert listed(client, sort="rating")[:2] == [ids[1], ids[2]]
    assert listed(client, sort="rating")[2:] == [ids[4], ids[3], ids[0]]
    assert set(listed(client, sort="prompt")) == set(ids)
    assert listed(client, sort="prompt_desc")[0] == ids[4]
    assert listed(client, search="KNIGHT") == [ids[1]]
    assert listed(client, search="0%") == [ids[0]]
    assert listed(client, search="a_") == [ids[3]]
    assert listed(client, min_rating=3) == [ids[1]]
    assert listed(client, date_filter="today") == [ids[4]]
    assert listed(client, date_filter="week") == newest[:4]
    assert listed(client, width=32, height=16) == newest
    assert listed(client, width=33) == []
    assert listed(client, start_date=(NOW - timedelta(days=3)).isoformat()) == newest[:2]
    assert listed(client, end_date=(NOW - timedelta(days=3)).isoformat()) == newest[2:]
    first = client.get(f"{API}/results", params={"page_size": 3, "sort": "created_at_asc"})
    following = re.fullmatch(r'<(.+)>; rel="next"', first.headers["link"])
    assert following is not None
    assert [item["id"] for item in client.get(following.group(1)).json()] == ids[3:]
    assert "link" not in client.get(following.group(1)).headers


@pytest.mark.parametrize(
    "params",
    [
        {"sort": "size"},
        {"limit": 0},
        {"limit": 201},
        {"page": 0},
        {"page": 10**30},
        {"page": 1_000, "page_size": 200},
        {"width": 2**40},
        {"min_rating": 6},
        {"search": "\x00"},
        {"start_date": "yesterday"},
        {"start_date": "2026-01-01T00:00:00"},
        {"date_filter": "year"},
    ],
)
def test_lists_that_there_are_not(sqlite_client: httpx.Client, params: Any) -> None:
    answer = sqlite_client.get(f"{API}/results", params=params)
    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert answer.json()["errors"][0]["loc"][1] in params


def test_a_picture_is_sent_as_it_is_and_once(client: httpx.Client, gallery: Gallery) -> None:
    data = picture(1)
    gallery.add(data)
    (item,) = client.get(f"{API}/results").json()
    address = f"{API}/images/{item['sha256']}"
    answer = client.get(address)
    assert (answer.content, answer.headers["content-type"]) == (data, "image/png")
    assert answer.headers["etag"] == f'"{item["sha256"]}"'
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    again = client.get(address, headers={"If-None-Match": answer.headers["etag"]})
    assert (again.status_code, again.content) == (httpx.codes.NOT_MODIFIED, b"")
    part = client.get(address, headers={"Range": "bytes=1-3"})
    assert (part.status_code, part.content) == (httpx.codes.PARTIAL_CONTENT, data[1:4])
    for wrong in ("0" * 64, "..%2F..%2Fserving.secret", item["sha256"].upper(), "x"):
        assert client.get(f"{API}/images/{wrong}").status_code == httpx.codes.NOT_FOUND


def test_with_keys_a_signature_shows_one_picture(
    sqlite_database: Database, serve: Callable[..., httpx.Client], tmp_path: Path
) -> None:
    client = serve(sqlite_database, api_keys=KEYS)
    made = Gallery(sqlite_database, tmp_path / "data" / "pictures")
    for number in (1, 2):
        made.add(picture(number))
    first, second = client.get(f"{API}/results", headers={"X-API-Key": "reader-secret"}).json()
    assert client.get(first["image_url"]).status_code == httpx.codes.OK
    assert client.get(first["image_url"].partition("?")[0]).status_code == httpx.codes.UNAUTHORIZED
    stolen = second["image_url"].partition("?")[0] + "?" + first["image_url"].partition("?")[2]
    assert client.get(stolen).status_code == httpx.codes.UNAUTHORIZED
    reader = {"X-API-Key": "reader-secret"}
    assert client.delete(f"{API}/results/{first['id']}", headers=reader).status_code == httpx.codes.FORBIDDEN
    rated = client.put(f"{API}/results/{first['id']}/rating", json={"rating": 1}, headers=reader)
    assert rated.status_code == httpx.codes.FORBIDDEN
    assert client.get(f"{API}/results/{first['id']}/download", headers=reader).status_code == httpx.codes.OK


def test_rating_and_marking(client: httpx.Client, gallery: Gallery) -> None:
    one, two = gallery.add(picture(1)), gallery.add(picture(2))
    rated = client.put(f"{API}/results/{one}/rating", json={"rating": 5})
    assert (rated.status_code, rated.json()["rating"]) == (200, 5)
    for nothing in (0, None):
        assert "rating" not in client.put(f"{API}/results/{one}/rating", json={"rating": nothing}).json()
    assert client.put(f"{API}/results/{one}/favorite", json={"is_favorite": True}).json()["is_favorite"] is True
    many = {"ids": [one, two, "nobody", 5], "is_favorite": True}
    marked = client.put(f"{API}/results/bulk-favorite", json=many)
    assert marked.json() == {"changed": 2, "not_found": ["nobody", "5"]}
    assert listed(client, is_favorite=True) == [two, one]
    for path, body in (
        ("rating", {"rating": 6}),
        ("rating", {"rating": "good"}),
        ("rating", {}),
        ("favorite", {}),
        ("favorite", {"is_favorite": None}),
        ("favorite", {"is_favorite": True, "more": 1}),
    ):
        answer = client.put(f"{API}/results/{one}/{path}", json=body)
        assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY, (path, body)


def test_bytes_go_with_the_last_result_that_needs_them(client: httpx.Client, gallery: Gallery) -> None:
    data = picture(1)
    one, two, other = gallery.add(data), gallery.add(data), gallery.add(picture(2))
    address = client.get(f"{API}/results/{one}").json()["image_url"]
    assert client.delete(f"{API}/results/{one}").status_code == httpx.codes.NO_CONTENT
    assert client.delete(f"{API}/results/{one}").status_code == httpx.codes.NOT_FOUND
    assert client.get(f"{API}/results/{one}").status_code == httpx.codes.NOT_FOUND
    assert client.get(address).content == data
    answer = client.post(f"{API}/results/bulk-delete", json={"ids": [one, two, two, "x"]})
    assert answer.json() == {"changed": 1, "not_found": [one, "x"]}
    assert client.get(address).status_code == httpx.codes.NOT_FOUND
    assert listed(client) == [other]
    # Front ends of other servers send it so.
    also = client.request("DELETE", f"{API}/results/bulk-delete", json={"ids": [other]})
    assert also.json() == {"changed": 1, "not_found": []}
    assert list(gallery.folder.glob("*/*")) == []
    many: list[dict[str, Any]] = [{}, {"ids": []}, {"ids": "all"}, {"ids": ["x"] * 1_001}, {"ids": [None]}]
    for wrong in many:
        refused = client.post(f"{API}/results/bulk-delete", json=wrong)
        assert refused.status_code == httpx.codes.UNPROCESSABLE_ENTITY


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_download_carries_its_infotext_in_a_copy(client: httpx.Client, gallery: Gallery, kind: str) -> None:
    data = picture(1, kind)
    said = gallery.add(data, infotext="as the backend wrote it")
    made = gallery.add(data, params={"steps": 20, "negative_prompt": "blur"}, seed=7)
    texts = []
    for key in (said, made):
        answer = client.get(f"{API}/results/{key}/download")
        assert answer.status_code == httpx.codes.OK
        assert answer.headers["content-type"] == f"image/{kind.lower()}"
        assert re.fullmatch(r'attachment; filename="[\w.-]+"', answer.headers["content-disposition"])
        with Image.open(io.BytesIO(answer.content)) as copy, Image.open(io.BytesIO(data)) as kept:
            assert copy.tobytes() == kept.tobytes()
            comment = copy.getexif().get_ifd(0x8769).get(0x9286, b"")[8:].decode("utf-16-be")
            texts.append(copy.info.get("parameters") or comment)
    assert texts[0] == "as the backend wrote it"
    assert texts[1].startswith(f"{KNIGHT}\nNegative prompt: blur\nSteps: 20, Seed: 7, Size: 32x16")
    (kept_path,) = gallery.folder.glob("*/*")
    assert kept_path.read_bytes() == data


def test_a_deleted_picture_is_shown_no_more_and_comes_back_with_a_new_result(
    client: httpx.Client, gallery: Gallery
) -> None:
    data = picture(1)
    one = gallery.add(data)
    address = client.get(f"{API}/results/{one}").json()["image_url"]
    gallery.store.put(data)  # by a generation whose row is on its way
    assert client.delete(f"{API}/results/{one}").status_code == httpx.codes.NO_CONTENT
    assert client.get(address).status_code == httpx.codes.NOT_FOUND
    gallery.add_row(data)
    assert client.get(address).content == data


def test_an_export_is_an_archive_with_a_manifest(client: httpx.Client, gallery: Gallery) -> None:
    one, two = gallery.add(picture(1)), gallery.add(picture(2, "JPEG"), rating=3)
    gone = gallery.add(picture(3))
    gallery.store.discard(client.get(f"{API}/results/{gone}").json()["sha256"])
    answer = client.post(f"{API}/results/export", json={"ids": [two, one, gone, "x"]})
    assert answer.headers["content-type"] == "application/zip"
    assert answer.headers["content-disposition"].endswith('.zip"')
    with zipfile.ZipFile(io.BytesIO(answer.content)) as packed:
        assert packed.testzip() is None
        *names, last = packed.namelist()
        manifest = json.loads(packed.read(last))
        with Image.open(packed.open(names[1])) as copy:
            assert copy.info["parameters"].startswith(KNIGHT)
    assert [item["id"] for item in manifest["results"]] == [two, one]
    assert [item["file"] for item in manifest["results"]] == names
    assert manifest["results"][0]["rating"] == 3
    assert manifest["missing"] == ["x", gone]
    bare = client.post(f"{API}/results/export", json={"ids": [one], "include_metadata": False})
    with zipfile.ZipFile(io.BytesIO(bare.content)) as packed:
        assert [Path(name).suffix for name in packed.namelist()] == [".png"]
    assert client.post(f"{API}/results/export", json={"ids": ["x"]}).status_code == httpx.codes.NOT_FOUND


def test_an_export_is_bounded_before_it_begins(client: httpx.Client, gallery: Gallery) -> None:
    key = gallery.add(picture(1), size=2**31 + 1)
    answer = client.post(f"{API}/results/export", json={"ids": [key]})
    assert (answer.status_code, answer.json()["errors"][0]["loc"]) == (422, ["body", "ids"])


def test_a_page_in_order_of_time_walks_an_index(database: Database, tmp_path: Path) -> None:
    made = Gallery(database, tmp_path / "pictures")
    for number in range(3):
        made.add(picture(number))
    with database.read() as connection:
        rows, more = generated_images.page(
            connection, generated_images.ImageFilter(), generated_images.ImageSort.NEWEST, limit=2, offset=0
        )
        keys = generated_images._keys(generated_images.ImageFilter(), generated_images.ImageSort.NEWEST)
        if database.is_sqlite:
            compiled = str(keys.limit(2).compile(database.engine, compile_kwargs={"literal_binds": True}))
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}").all()
            assert "TEMP B-TREE" not in str(plan)
    assert (len(rows), more) == (2, True)
    assert f"{API}/images" == results.IMAGES
