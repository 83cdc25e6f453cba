"""Signed, expiring URLs, so that a browser can show images without sending a key.

The secret is made once and kept in the data folder, so that every API process of an installation and every restart
agrees on it. When it is changed, the one before it stays beside it and counts for as long as what it signed.
"""

import hashlib
import hmac
import logging
import os
import secrets
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from serving.keys import give_like
from warehouse.settings import Settings

_FILE = "serving.secret"
_STEP = 3600
"""Expiry times are multiples of this many seconds, so that a URL stays the same for an hour and a browser caches it."""
_SIGNATURE_BYTES = 16
_SECRET_BYTES = 32
_OVERLAP = 2.0 * _STEP
"""Seconds for which the secret before counts: all that it has signed has expired then."""
_LOOK_SECONDS = 1.0
_log = logging.getLogger(__name__)


def _read_or_make(path: Path) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    if not path.exists():
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(secrets.token_bytes(_SECRET_BYTES))
        try:
            # A link fails where another process was first; its secret is then everybody's.
            path.hardlink_to(aside)
        except FileExistsError:
            pass
        finally:
            aside.unlink()
    return _read(path)


def _read(path: Path) -> bytes:
    """The secret, and the one before it where there is one."""
    found = path.read_bytes()
    if len(found) not in (_SECRET_BYTES, 2 * _SECRET_BYTES):
        raise ValueError(f"{path} is not the 32 bytes of a signing secret: delete it, and a new one is made")
    return found


def change_secret(settings: Settings) -> Path:
    """Make another secret, which every process takes up within seconds; what was signed before stays valid until it
    expires. Returns the file."""
    path = settings.data_dir / _FILE
    before = _read_or_make(path)[:_SECRET_BYTES]
    aside = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(secrets.token_bytes(_SECRET_BYTES) + before)
        give_like(path, aside)
        aside.replace(path)
    finally:
        aside.unlink(missing_ok=True)
    return path


class Signer:
    """Signs paths for some hours and checks such signatures. Safe to use from several threads."""

    def __init__(self, secret: bytes, file: Path | None = None) -> None:
        """
        Args:
            secret: what to sign with; behind it the secret before, if there was one.
            file: where it stands, to be looked at now and then; none: it never changes.
        """
        self._secret, self._before = secret[:_SECRET_BYTES], secret[_SECRET_BYTES:]
        self._file = file
        self._changed_at = file.stat().st_mtime if file is not None else 0.0
        self._look_at = time.monotonic() + _LOOK_SECONDS
        self._lock = threading.Lock()

    def _follow(self) -> None:
        """Take up another secret, if there is one."""
        if self._file is None or time.monotonic() < self._look_at:
            return
        with self._lock:
            self._look_at = time.monotonic() + _LOOK_SECONDS
            try:
                changed_at = self._file.stat().st_mtime
                if changed_at == self._changed_at:
                    return
                secret = _read(self._file)
            except (OSError, ValueError) as error:
                _log.error("the signing secret was not changed: %s", error)
                return
            self._secret, self._before = secret[:_SECRET_BYTES], secret[_SECRET_BYTES:]
            self._changed_at = changed_at

    @staticmethod
    def _signature(secret: bytes, path: str, expires: int) -> str:
        mac = hmac.new(secret, f"{expires}\n{path}".encode("utf-8", "surrogateescape"), hashlib.sha256)
        return mac.digest()[:_SIGNATURE_BYTES].hex()

    def sign(self, path: str) -> str:
        """The path with an expiry (one to two hours from now) and a signature."""
        self._follow()
        expires = (int(time.time()) // _STEP + 2) * _STEP
        return f"{quote(path)}?expires={expires}&signature={self._signature(self._secret, path, expires)}"

    def is_valid(self, path: str, query: Mapping[str, str]) -> bool:
        """Whether the query holds an unexpired signature of the path."""
        expires, signature = query.get("expires", ""), query.get("signature", "")
        if not (expires.isascii() and expires.isdigit() and len(expires) <= 12) or int(expires) < time.time():
            return False
        self._follow()
        given = signature.encode("utf-8", "replace")
        overlaps = bool(self._before) and time.time() < self._changed_at + _OVERLAP
        return any(
            hmac.compare_digest(self._signature(secret, path, int(expires)).encode(), given)
            for secret in (self._secret, *((self._before,) if overlaps else ()))
        )


def open_signer(settings: Settings) -> Signer:
    """The signer of an installation; its secret is made on first use, readable by its owner alone."""
    path = settings.data_dir / _FILE
    return Signer(_read_or_make(path), path)
