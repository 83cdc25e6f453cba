"""Keys that change while the service runs: added, taken away, expired, spoilt; and the secret of image URLs."""

import hashlib
import logging
import os
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect as websocket

from serving import keys, signing
from serving.keys import KeyRing, add_line, make_key
from serving.signing import change_secret, open_signer
from tests.serving.test_problems import problem_of
from warehouse.engine import Database
from warehouse.settings import Role, Settings

ROUTE = "/api/v1/adapters"
TODAY = keys.today()


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of keys that is looked at before every request."""
    monkeypatch.setattr(keys, "_LOOK_SECONDS", 0.0)
    file = tmp_path / "keys"
    file.write_text("ann:reader:first\n")
    return file


@pytest.fixture
def client(sqlite_database: Database, serve: Callable[..., httpx.Client], file: Path) -> httpx.Client:
    return serve(sqlite_database, api_keys="fixed:admin:from-the-setting", api_keys_file=file)


def asks(client: httpx.Client, key: str) -> int:
    return client.get(ROUTE, headers={"X-API-Key": key}).status_code


def write(file: Path, text: str) -> None:
    """As an editor does: another file in its place."""
    aside = file.with_suffix(".new")
    aside.write_text(text)
    aside.replace(file)


def test_a_key_is_changed_without_a_restart_and_both_count_meanwhile(client: httpx.Client, file: Path) -> None:
    assert (asks(client, "first"), asks(client, "second")) == (200, 401)
    write(file, "ann:reader:first\nann:reader:second\n")
    assert (asks(client, "first"), asks(client, "second")) == (200, 200)
    write(file, "ann:reader:second\n")
    assert (asks(client, "first"), asks(client, "second"), asks(client, "from-the-setting")) == (401, 200, 200)


@pytest.mark.parametrize("spoilt", ["", "# nothing\n", "ann:king:s3cret-one\n", "\xff\xfe", None])
def test_a_spoilt_file_changes_no_key_and_is_said_without_its_content(
    client: httpx.Client, file: Path, caplog: pytest.LogCaptureFixture, spoilt: str | None
) -> None:
    assert asks(client, "first") == 200
    with caplog.at_level(logging.ERROR, "serving.keys"):
        if spoilt is None:
            file.unlink()
        else:
            file.write_bytes(spoilt.encode("latin-1"))
        assert (asks(client, "first"), asks(client, "first")) == (200, 200)
    said = [record.getMessage() for record in caplog.records if record.name == "serving.keys"]
    # Once, not with every request.
    assert len(said) == 1
    assert str(file) in said[0]
    assert "s3cret-one" not in said[0]
    write(file, "ann:reader:second\n")
    assert (asks(client, "first"), asks(client, "second")) == (401, 200)


def test_a_key_counts_until_its_last_day(client: httpx.Client, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(file, f"ann:reader@{TODAY}:sha256:{hashlib.sha256(b'last').hexdigest()}\n")
    assert asks(client, "last") == 200
    monkeypatch.setattr("serving.security.today", lambda: TODAY + timedelta(days=1))
    refused = client.get(ROUTE, headers={"X-API-Key": "last"})
    assert "has expired" in problem_of(refused, 401)["detail"]
    assert asks(client, "from-the-setting") == 200


def test_a_socket_ends_when_its_key_is_taken_away(
    client: httpx.Client, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = str(client.base_url).replace("http", "ws", 1).rstrip("/") + "/ws/progress"
    with (
        websocket(address, proxy=None, additional_headers={"X-API-Key": "first"}) as taken,
        websocket(address, proxy=None, additional_headers={"X-API-Key": "from-the-setting"}) as kept,
    ):
        for each in (taken, kept):
            assert "hello" in str(each.recv(timeout=10))
        write(file, "ann:reader:second\n")
        for each in (taken, kept):
            each.send("nonsense")
        with pytest.raises(ConnectionClosed) as closed:
            taken.recv(timeout=10)
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1008
        assert "not understood" in str(kept.recv(timeout=10))


def test_a_made_key_is_known_by_its_line_alone(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    made = make_key("ann", Role.EDITOR, date(2100, 1, 31))
    add_line(file, made.line)
    file.chmod(0o640)
    other = make_key("bob", Role.READER)
    add_line(file, other.line)
    assert file.stat().st_mode & 0o777 == 0o640
    assert made.secret not in file.read_text()
    ring = KeyRing(Settings(_env_file=None, data_dir=tmp_path, api_keys_file=file))
    found = ring.find(hashlib.sha256(made.secret.encode()).digest())
    assert found is not None
    assert (found.name, found.role, found.expires) == ("ann", Role.EDITOR, date(2100, 1, 31))
    assert [path.name for path in tmp_path.iterdir()] == ["keys"]
    assert len(made.secret) >= 32


def test_files_stay_those_of_whoever_reads_them(tmp_path: Path, settings: Settings) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root makes files for another user")
    keys, link = tmp_path / "keys", tmp_path / "link"
    link.symlink_to(keys)
    open_signer(settings)
    secret = settings.data_dir / "serving.secret"
    keys.write_text("ann:admin:key-of-ann\n")
    for file in (keys, secret):
        file.chmod(0o600)
        os.chown(file, 10001, 10002)
    add_line(link, make_key("bob", Role.READER).line)
    change_secret(settings)
    assert link.is_symlink()
    assert len(keys.read_text().splitlines()) == 2
    for file in (keys, secret):
        status = file.stat()
        assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (10001, 10002, 0o600)


@pytest.mark.parametrize("name", ["", "a:b", "a,b", "a\nb", "#a", " a"])
def test_a_name_that_breaks_the_line_is_none(name: str) -> None:
    with pytest.raises(ValueError, match="no name of a key"):
        make_key(name, Role.READER)


def _query(url: str) -> dict[str, str]:
    return dict(part.split("=") for part in url.partition("?")[2].split("&"))


def test_another_signing_secret_lets_what_was_signed_live_out_its_time(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing, "_LOOK_SECONDS", 0.0)
    path = "/api/v1/adapters/x/preview"
    running = open_signer(settings)
    old = _query(running.sign(path))
    secret = change_secret(settings)
    assert secret.stat().st_mode & 0o777 == 0o600
    new = _query(running.sign(path))
    assert new["signature"] != old["signature"]
    assert running.is_valid(path, old)
    assert running.is_valid(path, new)
    # All it signed has expired: a copy of the secret before is worth nothing now.
    past = secret.stat().st_mtime - 2 * 3600 - 1
    os.utime(secret, (past, past))
    assert not running.is_valid(path, old)
    assert running.is_valid(path, new)
    # Twice changed, the first is gone at once.
    change_secret(settings)
    change_secret(settings)
    assert not open_signer(settings).is_valid(path, new)


def test_a_spoilt_signing_secret_changes_nothing(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing, "_LOOK_SECONDS", 0.0)
    running = open_signer(settings)
    query = _query(running.sign("/x"))
    (settings.data_dir / "serving.secret").write_bytes(b"short")
    assert running.is_valid("/x", query)
