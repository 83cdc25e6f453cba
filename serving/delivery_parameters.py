"""The parameters of a delivery that is asked for together with a prompt: one form for the three that clients write.

Pure. Does not belong here: which modes there are and what their parameters mean.
"""

import math
import re
from collections.abc import Mapping
from typing import Any, Final

MAX_DEPTH: Final = 64
"""Levels of lists and objects within parameters; whoever walks over them may do so by calling itself."""
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_MODE: Final = "mode"
_PARAMS: Final = "params"


class DeliveryError(ValueError):
    """A delivery that cannot be understood. `loc` is where in it."""

    def __init__(self, loc: tuple[str, ...], message: str) -> None:
        super().__init__(message)
        self.loc = loc


def delivery_parameters(delivery: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """The mode of a delivery and its parameters.

    They may stand beside `mode`, under `params`, under the mode's name, or spread over these; a null beside `mode` is a
    field that was left empty and is passed over.

    Args:
        delivery: as the client wrote it, with `mode` a text.

    Raises:
        DeliveryError: parameters are no object, differ between two places, or hold what cannot be stored.
    """
    mode: str = delivery[_MODE]
    collected: dict[str, Any] = {}
    beside = {key: value for key, value in delivery.items() if key not in (_MODE, _PARAMS, mode) and value is not None}
    _add(collected, beside, ())
    for key in dict.fromkeys((_PARAMS, mode)):
        value = delivery.get(key)
        if key == _MODE or value is None:
            continue
        if not isinstance(value, Mapping):
            raise DeliveryError((key,), f"is an object with the parameters of the mode {mode}")
        _add(collected, value, (key,))
    _require_storable(collected)
    return mode, collected


def _add(collected: dict[str, Any], given: Mapping[str, Any], loc: tuple[str, ...]) -> None:
    for key, value in given.items():
        if key in collected and collected[key] != value:
            raise DeliveryError((*loc, key), "is given twice, with different values: leave one out")
        collected[key] = value


def _require_storable(parameters: Mapping[str, Any]) -> None:
    """Neither database takes half a surrogate pair, PostgreSQL no NUL, and JSON no NaN."""
    waiting: list[tuple[Any, int]] = [(parameters, 0)]
    while waiting:
        value, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise DeliveryError((), f"holds parameters nested deeper than {MAX_DEPTH} levels")
        if isinstance(value, Mapping):
            waiting.extend((part, depth + 1) for pair in value.items() for part in pair)
        elif isinstance(value, list):
            waiting.extend((part, depth + 1) for part in value)
        elif isinstance(value, str) and ("\x00" in value or _SURROGATE.search(value)):
            raise DeliveryError((), "holds the character U+0000 or half of a surrogate pair: leave it out")
        elif isinstance(value, float) and not math.isfinite(value):
            raise DeliveryError((), "holds a number that is not finite")
