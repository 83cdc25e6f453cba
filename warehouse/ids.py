"""Public identifiers: UUID strings whose order is their time of birth, so that indexes grow at one end."""

import os
import re
import time

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def new_id() -> str:
    """A fresh UUIDv7 (RFC 9562, section 5.7) in its canonical text form."""
    milliseconds = time.time_ns() // 1_000_000
    value = (milliseconds & (2**48 - 1)) << 80 | int.from_bytes(os.urandom(10), "big")
    value = value & ~(0xF << 76) | 0x7 << 76
    value = value & ~(0x3 << 62) | 0x2 << 62
    digits = f"{value:032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def canonical(text: str) -> str | None:
    """An id as it is stored, in lower case; None for what is no UUID and therefore nobody's id."""
    lowered = text.lower()
    return lowered if _UUID.fullmatch(lowered) else None
