"""Signed, expiring URLs, so that a browser can show images without sending a key.

The secret is made once and kept in the data folder, so that every API process of an installation and every restart
agrees on it.
"""

import hashlib
import hmac
import os
import secrets
import time
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote

from warehouse.settings import Settings

_STEP = 3600
"""Expiry times are multiples of this many seconds, so that a URL stays the same for an hour and a browser caches it."""
_SIGNATURE_BYTES = 16


def _read_or_make(path: Path) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f"{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    if not path.exists():
        descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(secrets.token_bytes(32))
        try:
            # A link fails where another process was first; its secret is then everybody's.
            path.hardlink_to(aside)
        except FileExistsError:
            pass
        finally:
            aside.unlink()
    secret = path.read_bytes()
    if len(secret) != 32:
        raise ValueError(f"{path} is not the 32 bytes of a signing secret: delete it, and a new one is made")
    return secret


class Signer:
    """Signs paths for some hours and checks such signatures."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def _signature(self, path: str, expires: int) -> str:
        mac = hmac.new(self._secret, f"{expires}\n{path}".encode("utf-8", "surrogateescape"), hashlib.sha256)
        return mac.digest()[:_SIGNATURE_BYTES].hex()

    def sign(self, path: str) -> str:
        """The path with an expiry (one to two hours from now) and a signature."""
        expires = (int(time.time()) // _STEP + 2) * _STEP
        return f"{quote(path)}?expires={expires}&signature={self._signature(path, expires)}"

    def is_valid(self, path: str, query: Mapping[str, str]) -> bool:
        """Whether the query holds an unexpired signature of the path."""
        expires, signature = query.get("expires", ""), query.get("signature", "")
        if not (expires.isascii() and expires.isdigit() and len(expires) <= 12) or int(expires) < time.time():
            return False
        return hmac.compare_digest(self._signature(path, int(expires)).encode(), signature.encode("utf-8", "replace"))


def open_signer(settings: Settings) -> Signer:
    """The signer of an installation; its secret is made on first use, readable by its owner alone."""
    return Signer(_read_or_make(settings.data_dir / "serving.secret"))
