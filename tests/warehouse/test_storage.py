"""Reading stores: places, credentials, and the policy that the documentation gives to who reads a library."""

import json
import re
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import obstore
import pytest

from tests.stores import Store
from tests.warehouse.ingest.library import Library, weights
from warehouse.engine import Database
from warehouse.settings import Settings
from warehouse.storage import Access, StoreUrl, bucket_of, open_store, root_at

PAGE = Path(__file__).parents[2] / "docs" / "storage.md"
POLICIES = [
    json.loads(block) for block in re.findall(r"```json\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)
]


def test_a_place_is_a_bucket_and_a_prefix() -> None:
    place = StoreUrl.parse("s3://models/loras/sdxl/")
    assert (place.bucket, place.prefix, str(place)) == ("models", "loras/sdxl", "s3://models/loras/sdxl")
    assert str(StoreUrl.parse("s3://models/")) == "s3://models"
    assert place.is_relative_to(StoreUrl("models"))
    assert place.is_relative_to(StoreUrl("models", "loras"))
    assert not place.is_relative_to(StoreUrl("models", "lor"))
    assert not place.is_relative_to(StoreUrl("other"))
    assert not place.is_relative_to(Path("/"))
    assert root_at("/models") == Path("/models")


@pytest.mark.parametrize("text", ["s3://", "s3:///a", "s3://b/a//c", "s3://b/../c", "s3://b u/c", "/a"])
def test_what_is_no_place_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"s3://bucket|part"):
        StoreUrl.parse(text)


def test_no_secret_is_shown() -> None:
    assert "hush" not in repr(Access(key_id="id", secret="hush"))


def test_a_missing_client_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "obstore.store", None)
    with pytest.raises(RuntimeError, match=re.escape('pip install "lora-manager-backend[s3]"')):
        open_store("bucket", Access())


@pytest.fixture
def enforcing(store: Store) -> Iterator[Store]:
    """The store, while its server checks signatures and policies."""
    yield store
    _check(store, "inf")


def _check(store: Store, after: str) -> None:
    """Have the server check whoever asks, after so many requests."""
    host, _, port = urlsplit(store.server).netloc.partition(":")
    connection = HTTPConnection(host, int(port))
    connection.request("POST", "/moto-api/reset-auth", after.encode())
    assert connection.getresponse().status == 200
    connection.close()


def _key_with(store: Store, policy: dict[str, object], **names: str) -> str:
    """`ID:SECRET` of somebody with a policy."""
    import boto3

    text = json.dumps(policy)
    for name, value in names.items():
        text = text.replace(name.replace("_", "-"), value)
    iam = boto3.client(
        "iam", endpoint_url=store.server, aws_access_key_id="o", aws_secret_access_key="o", region_name="us-east-1"
    )
    user = f"user-{store.bucket}"
    iam.create_user(UserName=user)
    iam.put_user_policy(UserName=user, PolicyName="given", PolicyDocument=text)
    made = iam.create_access_key(UserName=user)["AccessKey"]
    return f"{made['AccessKeyId']}:{made['SecretAccessKey']}"


def test_the_policy_for_libraries_lets_a_sync_through_and_no_write(
    enforcing: Store, sqlite_database: Database, settings: Settings, tmp_path: Path
) -> None:
    store = enforcing
    store.put("lib/a b.safetensors", weights(1))
    store.put("lib/a b.json", b'{"activation text": "word"}')
    key = _key_with(store, POLICIES[0], LIBRARY_BUCKET=store.bucket)
    reading = store.settings(settings, library_s3_key=key)
    _check(store, "0")
    library = Library(tmp_path, sqlite_database, reading)
    library.sync(roots=[StoreUrl(store.bucket, "lib")])
    assert library.adapter().file_state == "present"
    assert library.query("SELECT count(*) FROM files WHERE sha256 IS NOT NULL") == [(1,)]
    assert {asked.method for asked in store.wire.asked} == {"GET"}
    with pytest.raises(Exception, match=r"(?i)access ?denied"):
        obstore.put(open_store(store.bucket, reading.library_access), "lib/a b.json", b"{}")
    with pytest.raises(Exception, match=r"(?i)access ?denied"):
        obstore.delete(open_store(store.bucket, reading.library_access), "lib/a b.json")
    raw, _, _ = bucket_of(store.bucket, reading.library_access).read("lib/a b.json", limit=1_000)
    assert raw == b'{"activation text": "word"}'


def test_a_wrong_secret_is_refused(enforcing: Store, settings: Settings) -> None:
    store = enforcing
    key = _key_with(store, POLICIES[0], LIBRARY_BUCKET=store.bucket)
    reading = store.settings(settings, library_s3_key=f"{key.partition(':')[0]}:wrong")
    _check(store, "0")
    with pytest.raises(PermissionError, match="refuses it to these credentials"):
        bucket_of(store.bucket, reading.library_access).probe("")
