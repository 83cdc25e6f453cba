"""What a target says, as both databases and JSON can hold it: a hostile or broken target must not fail the lane.

Belongs here: cleaning and bounding. Does not: reading an answer.
"""

from collections.abc import Mapping
from typing import Any, Final

_MAX_TEXT: Final = 20_000
_MAX_ITEMS: Final = 1_000
_MAX_DEPTH: Final = 12
_MAX_INTEGER: Final = 2**63


def storable(value: Any, depth: int = 0) -> Any:
    """A value of JSON without what cannot be stored: characters that are none, numbers that are none, bulk."""
    if isinstance(value, str):
        return text(value)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if -_MAX_INTEGER <= value < _MAX_INTEGER else str(value)
    if isinstance(value, float):
        return value if value - value == 0 else None
    if depth >= _MAX_DEPTH:
        return "…"
    if isinstance(value, Mapping):
        items = list(value.items())[:_MAX_ITEMS]
        return {text(str(name)): storable(item, depth + 1) for name, item in items}
    if isinstance(value, list | tuple):
        return [storable(item, depth + 1) for item in value[:_MAX_ITEMS]]
    return text(str(value))


def text(value: str, limit: int = _MAX_TEXT) -> str:
    """A text without NUL and halves of surrogate pairs, cut off where it is too long."""
    cut = value if len(value) <= limit else f"{value[:limit]}…"
    return cut.replace("\x00", "\ufffd").encode("utf-8", "replace").decode()
