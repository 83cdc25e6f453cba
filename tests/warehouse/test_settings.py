import hashlib
from pathlib import Path

import pytest
from pydantic import ValidationError
from sqlalchemy.engine import make_url

from warehouse.settings import Role, Settings, parse_paths
from warehouse.storage import StoreUrl


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


@pytest.mark.parametrize("name", ["what?x=1", "per%41cent"])
def test_a_folder_that_the_database_would_not_lie_in_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    with pytest.raises(ValidationError, match="LORA_MANAGER_DATA_DIR"):
        make(monkeypatch, DATA_DIR=f"/srv/{name}/data")


@pytest.mark.parametrize("prefix", ["postgres://", "postgresql://", "postgresql+psycopg://"])
def test_postgresql_is_spoken_to_through_psycopg(prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = make(monkeypatch, DATABASE_URL=f"{prefix}u:p@h/d")
    assert settings.url == "postgresql+psycopg://u:p@h/d"


def test_values_out_of_range_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError):
        make(monkeypatch, RECALL_FLOOR="1.5")


def test_the_audit_log_is_kept_for_a_month_at_least_or_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError, match="30 days at least"):
        make(monkeypatch, AUDIT_KEEP_DAYS="29")
    assert make(monkeypatch, AUDIT_KEEP_DAYS="0").audit_keep_days == 0


@pytest.mark.parametrize(
    "origin", ["null", "NULL", "https://a/b", "https://*.example", "example", "https://", "https://a b"]
)
def test_what_is_no_origin_is_refused(monkeypatch: pytest.MonkeyPatch, origin: str) -> None:
    with pytest.raises(ValidationError, match="origin"):
        make(monkeypatch, CORS_ORIGINS=f"https://front.example,{origin}")


def test_origins_are_kept_as_browsers_send_them(monkeypatch: pytest.MonkeyPatch) -> None:
    given = "HTTPS://Front.Example/, http://front.example:80,https://front.example:8443,*,app://local"
    expected = ["https://front.example", "http://front.example", "https://front.example:8443", "*", "app://local"]
    assert make(monkeypatch, CORS_ORIGINS=given).cors_origins == expected


def test_a_file_of_keys_that_holds_none_does_not_open_the_api(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "keys"
    for content, message in (
        ("# none\n", "holds no key"),
        ("a:reader:s3cret\nb:king:s3cret", "line 2"),
        (None, "is not there: make a key"),
    ):
        path.unlink(missing_ok=True)
        if content is not None:
            path.write_text(content)
        with pytest.raises(ValidationError, match=message) as caught:
            make(monkeypatch, API_KEYS_FILE=str(path))
        assert "s3cret" not in str(caught.value.errors(include_input=False))


@pytest.mark.parametrize("name", ["OTLP_ENDPOINT", "OTEL"])
def test_a_collector_by_either_name(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    if name == "OTEL":
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318/")
        assert make(monkeypatch).otlp_endpoint == "http://127.0.0.1:4318"
    else:
        assert make(monkeypatch, OTLP_ENDPOINT="http://127.0.0.1:4318/").otlp_endpoint == "http://127.0.0.1:4318"
    with pytest.raises(ValidationError, match="http"):
        make(monkeypatch, OTLP_ENDPOINT="127.0.0.1:4317")


def test_blank_settings_are_absent_and_proxies_are_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = make(monkeypatch, RATE_LIMIT="", API_KEYS_FILE="", TRUSTED_PROXIES="10.0.0.0/8,::1")
    assert (settings.rate_limit, settings.api_keys_file) == (None, None)
    with pytest.raises(ValidationError):
        make(monkeypatch, TRUSTED_PROXIES="*")


def _file(tmp_path: Path, text: str) -> Path:
    file = tmp_path / "secret"
    file.write_text(text)
    return file


def test_secrets_may_stand_in_files(tmp_path: Path) -> None:
    auth = Settings(_env_file=None, sdnext_auth_file=_file(tmp_path, "user:pass\n")).sdnext_auth  # type: ignore[call-arg]
    assert auth is not None
    assert auth.get_secret_value() == "user:pass"
    url = "postgresql://user:pw@host/name"
    assert Settings(_env_file=None, database_url_file=_file(tmp_path, url)).database_url == url  # type: ignore[call-arg]
    settings = Settings(  # type: ignore[call-arg]
        _env_file=None,
        database_url="postgresql://user@host:5433/name?sslmode=require",
        database_password_file=_file(tmp_path, "p@ss/wörd\r\n"),
    )
    parsed = make_url(settings.url)
    assert (parsed.username, parsed.password, parsed.host, parsed.port) == ("user", "p@ss/wörd", "host", 5433)
    assert parsed.query == {"sslmode": "require"}


def test_a_mark_of_the_encoding_is_no_part_of_a_secret(tmp_path: Path) -> None:
    file = _file(tmp_path, "\ufeffpostgresql://user:pw@host/name\r\n")
    assert Settings(_env_file=None, database_url_file=file).database_url == "postgresql://user:pw@host/name"  # type: ignore[call-arg]
    keys = Settings(_env_file=None, api_keys_file=_file(tmp_path, "\ufeffann:admin:key-of-ann\r\n")).api_keys  # type: ignore[call-arg]
    assert [key.name for key in keys] == ["ann"]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"sdnext_auth": "a:b-secret", "sdnext_auth_file": "x"}, "LORA_MANAGER_SDNEXT_AUTH_FILE are both set"),
        ({"database_url_file": "nowhere"}, "LORA_MANAGER_DATABASE_URL_FILE: the file nowhere cannot be read"),
        ({"database_url": "postgresql://u:b-secret@h/n", "database_password_file": "x"}, "the user and no password"),
        ({"database_password_file": "x"}, "the user and no password"),
        ({"api_keys": "ann:reader@b-secret:key"}, "entry 1 has no last day"),
        (
            {"api_keys": "ann:reader:b-secret,bob:admin:b-secret"},
            "the API keys ann (reader) and bob (admin) are one and the same key",
        ),
        (
            {"api_keys": "ann:reader:b-secret,ann:reader@2031-12-31:b-secret"},
            "the API keys ann (reader) and ann (reader, until 2031-12-31) are one and the same key",
        ),
    ],
)
def test_what_is_wrong_with_a_secret_is_said_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fields: dict[str, str], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "x").write_text("b-secret")
    with pytest.raises(ValidationError) as refused:
        Settings(_env_file=None, **fields)  # type: ignore[arg-type]
    assert said in str(refused.value)
    assert "b-secret" not in str(refused.value)


def test_a_key_that_is_there_twice_counts_once(tmp_path: Path) -> None:
    settings = Settings(  # type: ignore[call-arg]
        _env_file=None,
        api_keys="ann:admin:key-of-ann,ann:admin:the-old-one",
        api_keys_file=_file(tmp_path, "ann:admin:key-of-ann\nbob:reader:key-of-bob\n"),
    )
    assert [key.name for key in settings.api_keys] == ["ann", "ann", "bob"]


def test_settings_show_no_secret() -> None:
    shown = repr(
        Settings(  # type: ignore[call-arg]
            _env_file=None,
            database_url="postgresql://u:b-secret@h/n",
            api_keys="ann:reader:b-secret",
            sdnext_auth="u:b-secret",
        )
    )
    assert "b-secret" not in shown


def test_roots_in_stores_stand_among_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = [Path("/a"), StoreUrl("models", "x/y"), Path("/b"), StoreUrl("other")]
    for text in (
        "/a:s3://models/x/y:/b:s3://other/",
        "/a, s3://models/x/y, /b, s3://other",
        '["/a", "s3://models/x/y", "/b", "s3://other"]',
    ):
        assert make(monkeypatch, LIBRARY_ROOTS=text).library_roots == expected, text
    assert make(monkeypatch, LIBRARY_ROOTS="s3://models/x").library_roots == [StoreUrl("models", "x")]
    with pytest.raises(ValidationError, match="is no place in a store"):
        make(monkeypatch, LIBRARY_ROOTS="s3://")


def test_credentials_of_stores_are_apart_and_come_from_files_too(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "key").write_text("reader:a/b+c:d\n")
    settings = make(
        monkeypatch,
        LIBRARY_S3_KEY_FILE=str(tmp_path / "key"),
        LIBRARY_S3_ENDPOINT="http://store:9000/",
        PUBLISHED_S3_KEY="writer:other",
        PUBLISHED_S3_ADDRESSING="virtual",
    )
    reading, writing = settings.library_access, settings.published_access
    assert (reading.key_id, reading.secret, reading.endpoint) == ("reader", "a/b+c:d", "http://store:9000")
    assert (writing.key_id, writing.secret, writing.endpoint) == ("writer", "other", "")
    assert (reading.virtual_hosted, writing.virtual_hosted) == (False, True)
    assert "a/b+c:d" not in repr(settings)
    with pytest.raises(ValidationError, match="both set"):
        make(monkeypatch, LIBRARY_S3_KEY="anonymous")
    monkeypatch.delenv("LORA_MANAGER_LIBRARY_S3_KEY_FILE")
    assert make(monkeypatch, LIBRARY_S3_KEY="anonymous").library_access.anonymous


@pytest.mark.parametrize("value", ["onlyanid", "id:", ":hush"])
def test_credentials_that_are_none_are_refused_without_being_shown(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    with pytest.raises(ValidationError, match="neither ID:SECRET") as caught:
        make(monkeypatch, LIBRARY_S3_KEY=value)
    assert "hush" not in str(caught.value.errors(include_input=False))


def test_an_emptied_file_of_credentials_is_no_fallback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "key").touch()
    with pytest.raises(ValidationError, match="is empty"):
        make(monkeypatch, PUBLISHED_S3_KEY_FILE=str(tmp_path / "key"))


BROKER = "redis://:secret@broker:6379/0"
POSTGRESQL = "postgresql://u:p@h/d"


def test_workers_need_a_redis_and_a_database_that_they_share(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError, match="celery_broker_url must name a Redis"):
        make(monkeypatch, RUN_LAUNCHER="celery", DATABASE_URL=POSTGRESQL)
    with pytest.raises(ValidationError, match="database_url must name a PostgreSQL"):
        make(monkeypatch, RUN_LAUNCHER="celery", DATABASE_URL="", CELERY_BROKER_URL=BROKER)
    settings = make(monkeypatch, RUN_LAUNCHER="celery", DATABASE_URL=POSTGRESQL, CELERY_BROKER_URL=BROKER)
    assert settings.run_launcher == "celery"
    assert "secret" not in repr(settings)
    assert make(monkeypatch, RUN_LAUNCHER="").run_launcher == "default"


def test_addresses_are_read_from_the_files_of_secrets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "database").write_text(f"{POSTGRESQL}\n")
    (tmp_path / "broker").write_text(BROKER)
    files = {"DATABASE_URL_FILE": str(tmp_path / "database"), "CELERY_BROKER_URL_FILE": str(tmp_path / "broker")}
    settings = make(monkeypatch, RUN_LAUNCHER="celery", **files)
    assert settings.database_url == POSTGRESQL
    assert settings.celery_broker_url.get_secret_value() == BROKER
    assert not make(monkeypatch, RUN_LAUNCHER="", DATABASE_URL_FILE="", CELERY_BROKER_URL_FILE="").database_url


@pytest.mark.parametrize("content", [None, "", "\n"])
def test_a_file_of_secrets_that_says_nothing_chooses_no_other_database(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str | None
) -> None:
    if content is not None:
        (tmp_path / "database").write_text(content)
    with pytest.raises(ValidationError, match=r"cannot be read|is empty"):
        make(monkeypatch, DATABASE_URL_FILE=str(tmp_path / "database"))


def test_devices_are_named_as_cuda_and_hip_name_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HIP_VISIBLE_DEVICES", "1")
    assert make(monkeypatch).visible_devices == "1"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,2")
    assert make(monkeypatch).visible_devices == "0,2"
