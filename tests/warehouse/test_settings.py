import hashlib
from pathlib import Path

import pytest
from pydantic import ValidationError

from warehouse.settings import Role, Settings, parse_paths


def make(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Settings:
    for name, value in environment.items():
        monkeypatch.setenv(f"LORA_MANAGER_{name}", value)
    return Settings(_env_file=None)


def test_keys_are_kept_as_digests(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = make(monkeypatch, API_KEYS="ui:reader:s3cret, ops:admin:with:colons")
    assert [(key.name, key.role) for key in settings.api_keys] == [("ui", Role.READER), ("ops", Role.ADMIN)]
    assert settings.api_keys[1].digest == hashlib.sha256(b"with:colons").digest()
    assert "s3cret" not in repr(settings)


@pytest.mark.parametrize("value", ["ui:king:supersecret", "nosecret:reader", "::"])
def test_a_bad_key_is_refused_without_its_secret(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    with pytest.raises(ValidationError, match="entry 1 is not name:role:key") as caught:
        make(monkeypatch, API_KEYS=value)
    assert "supersecret" not in str(caught.value.errors(include_input=False))


def test_library_roots_in_every_spelling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    odd = tmp_path / "a, b"
    odd.mkdir()
    assert parse_paths(str(odd)) == [str(odd)]
    assert parse_paths("/a:/b") == ["/a", "/b"]
    assert parse_paths("/a, /b") == ["/a", "/b"]
    assert parse_paths('["/a:1", "/b"]') == ["/a:1", "/b"]
    assert parse_paths("") == []
    assert make(monkeypatch, LIBRARY_ROOTS=str(odd)).library_roots == [odd]


def test_folders_are_absolute_wherever_a_process_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = make(monkeypatch, DATA_DIR="state")
    assert settings.data_dir == tmp_path / "state"
    assert settings.url == f"sqlite:///{tmp_path / 'state' / 'warehouse.sqlite3'}"


@pytest.mark.parametrize("prefix", ["postgres://", "postgresql://", "postgresql+psycopg://"])
def test_postgresql_is_spoken_to_through_psycopg(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = make(monkeypatch, DATABASE_URL=f"{prefix}u:p@h/d")
    assert settings.url == "postgresql+psycopg://u:p@h/d"


def test_values_out_of_range_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError):
        make(monkeypatch, RECALL_FLOOR="1.5")
