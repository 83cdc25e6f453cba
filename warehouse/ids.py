"""Public identifiers: UUID strings whose order is their time of birth, so that indexes grow at one end."""

import os
import re
import time
from typing import Final

_RANDOM_BYTES: Final = 10
_VARIANT: Final = {digit: "89ab"[int(digit, 16) % 4] for digit in "0123456789abcdef"}
"""The first two bits of a random digit made the ones of RFC 9562."""
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def new_id() -> str:
    """A fresh UUIDv7 (RFC 9562, section 5.7) in its canonical text form."""
    return new_ids(1)[0]


def new_ids(count: int) -> list[str]:
    """Fresh ones of one moment, in their order: for thousands, asking the system for randomness each time is slow."""
    moment = f"{time.time_ns() // 1_000_000 & 2**48 - 1:012x}"
    start = f"{moment[:8]}-{moment[8:]}-7"
    drawn = os.urandom(_RANDOM_BYTES * count).hex()
    every = (drawn[at : at + 2 * _RANDOM_BYTES] for at in range(0, len(drawn), 2 * _RANDOM_BYTES))
    return sorted([f"{start}{one[:3]}-{_VARIANT[one[3]]}{one[4:7]}-{one[7:19]}" for one in every])


def canonical(text: str) -> str | None:
    """An id as it is stored, in lower case; None for what is no UUID and therefore nobody's id."""
    lowered = text.lower()
    return lowered if _UUID.fullmatch(lowered) else None
