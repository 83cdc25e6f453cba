"""The API keys as they are now: those of the settings, and those of a file that is read again when it changes.

Belongs here: following the file, expiry, making a key. Does not: what a key is (`warehouse.settings`), who may do what
(`security`).
"""

import hashlib
import hmac
import logging
import os
import secrets
import threading
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from warehouse.settings import ApiKey, Role, Settings

_LOOK_SECONDS = 1.0
"""Between two looks at the file. So long a key counts that was taken out of it."""
_KEY_BYTES = 24
_log = logging.getLogger(__name__)

_State = tuple[int, int, int] | None
"""Of a file: number, size, time; None where there is none."""


class KeyRing:
    """The keys of a process. Safe to ask from several threads."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._keys = settings.api_keys
        self._file = None if settings.api_keys_file is None else settings.api_keys_file.expanduser()
        self._state = self._state_now()
        self._look_at = time.monotonic() + _LOOK_SECONDS

    def __bool__(self) -> bool:
        """Whether there are keys. A file that is emptied is refused, so this never becomes false."""
        return bool(self._keys)

    def find(self, digest: bytes) -> ApiKey | None:
        """The key with this digest, expired or not. Every key is compared, in constant time, whichever matches."""
        found = None
        for key in self._now():
            if hmac.compare_digest(key.digest, digest):
                found = key
        return found

    def counts(self, key: ApiKey) -> bool:
        """Whether a key that was found is still configured, and has not expired."""
        return key.is_valid_on(today()) and key in self._now()

    def _now(self) -> tuple[ApiKey, ...]:
        if self._file is not None and time.monotonic() >= self._look_at:
            with self._lock:
                self._look_at = time.monotonic() + _LOOK_SECONDS
                state = self._state_now()
                if state != self._state:
                    self._state = state
                    self._read()
        return self._keys

    def _read(self) -> None:
        try:
            keys = self._settings.keys_now()
        except ValueError as error:
            # Once for each state of the file. Its message names a line, never what is in it.
            _log.error("the API keys were not changed: %s", error)
            return
        self._keys = keys
        _log.warning("the file of API keys was read again: %d keys count now", len(keys))

    def _state_now(self) -> _State:
        try:
            stat = self._file.stat() if self._file is not None else None
        except OSError:
            return None
        return None if stat is None else (stat.st_ino, stat.st_size, stat.st_mtime_ns)


def today() -> date:
    """The day by which keys expire: that of UTC."""
    return datetime.now(UTC).date()


@dataclass(frozen=True, slots=True)
class NewKey:
    """A key that was just made: what its holder sends, and the line that lets the service know it."""

    secret: str
    line: str


def make_key(name: str, role: Role, expires: date | None = None) -> NewKey:
    """Make a key. The secret is nowhere but in the answer.

    Raises:
        ValueError: the name could not stand in a line of the file, or the last day has passed.
    """
    if not name.strip() or name != name.strip() or name.startswith("#") or any(c in name for c in ":,\n\r"):
        raise ValueError(f"{name!r} is no name of a key: none of ':', ',' and line ends, and no '#' at its start")
    if expires is not None and expires < today():
        raise ValueError(f"a key whose last day was {expires} would never count: name {today()} or a later day")
    secret = secrets.token_urlsafe(_KEY_BYTES)
    digest = hashlib.sha256(secret.encode()).hexdigest()
    until = f"@{expires.isoformat()}" if expires is not None else ""
    return NewKey(secret, f"{name}:{role.value}{until}:sha256:{digest}")


def give_like(file: Path, to: Path) -> None:
    """Let a file that takes another's place be read by whoever may read that one, also where an administrator makes it
    for a service that runs as somebody else.

    Raises:
        OSError: the other one is another user's, and this process may not give files away.
    """
    status = file.stat()
    if (status.st_uid, status.st_gid) != (to.stat().st_uid, to.stat().st_gid):
        os.chown(to, status.st_uid, status.st_gid)
    to.chmod(status.st_mode & 0o777)


def add_line(file: Path, line: str) -> None:
    """Write a line to the end of a file of keys, which only its owner may read if it is new.

    By a new file in its place: the service never reads half of one.
    """
    # Where it is a link, what it leads to is written.
    file = file.resolve()
    before = file.read_text(encoding="utf-8") if file.exists() else ""
    if before and not before.endswith("\n"):
        before += "\n"
    aside = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    aside.touch(mode=0o600)
    try:
        if file.exists():
            give_like(file, aside)
        aside.write_text(f"{before}{line}\n", encoding="utf-8")
        aside.replace(file)
    finally:
        aside.unlink(missing_ok=True)
