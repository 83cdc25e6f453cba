"""Lenient, typed access to the keys of a JSON object: a wrong type is a complaint and None, never an exception.

What belongs here: rules about JSON types that hold for every format. What does not: the meaning of any key.
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from math import isfinite
from typing import Any, Final

import msgspec

from warehouse.civitai.records import Complaint, JsonObject
from warehouse.civitai.verdicts import ComplaintCode

MAX_COMPLAINTS: Final = 100
MAX_DEPTH: Final = 12
MAX_UNKNOWN_BYTES: Final = 65_536
_SIZED: Final = frozenset({str, list, dict})
_ENCODER: Final = msgspec.json.Encoder()
_INT64: Final = 2**63
_NAMES: Final = {
    dict: "an object",
    list: "a list",
    str: "a text",
    bool: "true or false",
    int: "a number",
    float: "a number",
    type(None): "null",
}


class Complaints:
    """The complaints of one document, at most `MAX_COMPLAINTS` of them and then one that says so."""

    __slots__ = ("items",)

    def __init__(self) -> None:
        self.items: list[Complaint] = []

    def add(self, code: ComplaintCode, path: str, message: str) -> None:
        """Note a complaint about the field at `path`."""
        if len(self.items) < MAX_COMPLAINTS:
            self.items.append(Complaint(code, path, message))
        elif len(self.items) == MAX_COMPLAINTS:
            self.items.append(
                Complaint(ComplaintCode.TOO_MANY, path, f"Only the first {MAX_COMPLAINTS} complaints are kept.")
            )

    def wrong_type(self, path: str, expected: str, value: Any) -> None:
        """Note that a field has another type than expected."""
        self.add(
            ComplaintCode.WRONG_TYPE,
            path,
            f"{path} should be {expected} but is {_NAMES.get(type(value), 'something else')}; the field is left empty.",
        )


class Fields:
    """One JSON object of a document, with its JSON path and the document's complaints."""

    __slots__ = ("_index", "_key", "_place", "data", "log")

    def __init__(
        self, data: JsonObject, place: "str | Fields", log: Complaints, key: str = "", index: int | None = None
    ) -> None:
        """`place` is the path, or the object that holds this one under `key`, as item `index` where that is a list."""
        self.data = data
        self.log = log
        self._place = place
        self._key = key
        self._index = index

    @property
    def path(self) -> str:
        """The JSON path. Only complaints ask for it, so it is spelled no earlier."""
        if isinstance(self._place, str):
            return self._place
        path = f"{self._place.path}.{self._key}"
        return path if self._index is None else f"{path}[{self._index}]"

    def _wrong(self, key: str, expected: str, value: Any) -> None:
        self.log.wrong_type(f"{self.path}.{key}", expected, value)

    def text(self, key: str) -> str | None:
        """A text; blank is None."""
        value = self.data.get(key)
        if type(value) is str:
            return value if value and not value.isspace() else None
        if value is None:
            return None
        self._wrong(key, "a text", value)
        return None

    def integer(self, key: str) -> int | None:
        """A whole number of at most 64 bits, also written as text ("123") or as a float (123.0)."""
        value = self.data.get(key)
        if value is None:
            return None
        if type(value) is int and -_INT64 <= value < _INT64:
            return value
        if type(value) is float and value.is_integer():
            value = int(value)
        elif type(value) is str:
            if not value.strip():
                return None
            value = whole_number(value)
        if type(value) is not int:
            self._wrong(key, "a whole number", self.data[key])
            return None
        if not -_INT64 <= value < _INT64:
            self.log.add(
                ComplaintCode.OUT_OF_RANGE,
                f"{self.path}.{key}",
                f"{self.path}.{key} is beyond 64 bits; the field is left empty.",
            )
            return None
        return value

    def identifier(self, key: str) -> int | None:
        """A positive whole number; 0 and below mean that there is none."""
        value = self.integer(key)
        return value if value is not None and value > 0 else None

    def number(self, key: str) -> float | None:
        """A finite number, also written as text."""
        value = self.data.get(key)
        if value is None:
            return None
        if type(value) is float and isfinite(value):
            return value
        if type(value) is str:
            if not value.strip():
                return None
            value = decimal_number(value)
        if type(value) is not float and type(value) is not int:
            self._wrong(key, "a number", self.data[key])
            return None
        try:
            result = float(value)
        except OverflowError:
            result = float("inf")
        if not isfinite(result):
            self.log.add(
                ComplaintCode.OUT_OF_RANGE,
                f"{self.path}.{key}",
                f"{self.path}.{key} is beyond what a double can hold; the field is left empty.",
            )
            return None
        return result

    def flag(self, key: str) -> bool | None:
        """True or false."""
        value = self.data.get(key)
        if value is None or type(value) is bool:
            return value
        self._wrong(key, "true or false", value)
        return None

    def moment(self, key: str) -> datetime | None:
        """An RFC 3339 time; without a zone it is taken as UTC, as Civitai means it."""
        value = self.data.get(key)
        if value is None or value == "":
            return None
        if type(value) is not str:
            self._wrong(key, "a time", value)
            return None
        result = parse_time(value)
        if result is None:
            self.log.add(
                ComplaintCode.BAD_TIME,
                f"{self.path}.{key}",
                f"{self.path}.{key} is no RFC 3339 time ({value[:40]!r}); the field is left empty.",
            )
        return result

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts without blanks; a single text counts as a list of one."""
        value = self.data.get(key)
        if value is None:
            return ()
        if type(value) is list:
            result = tuple(item for item in value if type(item) is str and item and not item.isspace())
            if len(result) != len(value):
                self._complain_about_items(key, value)
            return result
        if type(value) is str:
            return (value,) if value.strip() else ()
        self._wrong(key, "a list of texts", value)
        return ()

    def _complain_about_items(self, key: str, items: list[Any]) -> None:
        for index, item in enumerate(items):
            if item is not None and type(item) is not str:
                self.log.wrong_type(f"{self.path}.{key}[{index}]", "a text", item)

    def child(self, key: str) -> "Fields | None":
        """A nested object."""
        value = self.data.get(key)
        if value is None:
            return None
        if type(value) is dict:
            return Fields(value, self, self.log, key)
        self._wrong(key, "an object", value)
        return None

    def children(self, key: str, limit: int | None = None) -> "Iterator[Fields]":
        """The objects of a list; items that are no objects are complained about and skipped.

        Items beyond `limit` are left out, with a complaint.
        """
        value = self.data.get(key)
        if value is None:
            return
        if type(value) is not list:
            self._wrong(key, "a list of objects", value)
            return
        if limit is not None and len(value) > limit:
            self.log.add(
                ComplaintCode.TOO_MANY,
                f"{self.path}.{key}",
                f"{self.path}.{key} lists {len(value):,} items; the first {limit:,} are taken.",
            )
            value = value[:limit]
        for index, item in enumerate(value):
            if type(item) is dict:
                yield Fields(item, self, self.log, key, index)
            elif item is not None:
                self.log.wrong_type(f"{self.path}.{key}[{index}]", "an object", item)

    def others(self, known: frozenset[str]) -> JsonObject:
        """The keys that are not `known`, without nulls, bounded in depth and in the size of numbers.

        A value beyond `MAX_UNKNOWN_BYTES` stays in the raw document alone, with a complaint.
        """
        unknown = self.data.keys() - known
        if not unknown:
            return {}
        result: JsonObject = {}
        for key, value in self.data.items():
            if value is None or key not in unknown:
                continue
            if type(value) in _SIZED and _is_large(value):
                path = f"{self.path}.{key}"
                self.log.add(
                    ComplaintCode.TOO_MANY,
                    path,
                    f"{path} holds more than {MAX_UNKNOWN_BYTES:,} bytes; it stays in the raw document alone.",
                )
                continue
            result[key] = bounded(value)
        return result


def _is_large(value: Any) -> bool:
    try:
        return len(_ENCODER.encode(value)) > MAX_UNKNOWN_BYTES
    except (RecursionError, OverflowError):
        # Too deep, or a number beyond 64 bits: neither says anything about the size, and both are cut anyway.
        return False


def whole_number(text: str) -> int | None:
    """The whole number that a text spells, or None. At most 20 characters, so that hostile digits cost nothing."""
    stripped = text.strip()
    if len(stripped) > 20 or not stripped.lstrip("+-").isdecimal():
        return None
    try:
        return int(stripped)
    except ValueError:
        return None


def decimal_number(text: str) -> float | None:
    """The number that a text spells, or None. At most 40 characters."""
    if len(text) > 40:
        return None
    try:
        return float(text)
    except ValueError:
        return None


def parse_time(text: str) -> datetime | None:
    """An ISO 8601 time in UTC, or None where the text is none or the year falls outside the calendar."""
    try:
        moment = datetime.fromisoformat(text.strip())
        if moment.tzinfo is None:
            return moment.replace(tzinfo=UTC)
        return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def bounded(value: Any, depth: int = MAX_DEPTH) -> Any:
    """A JSON value as any database stores it: cut below `depth` levels, huge whole numbers written as text."""
    if type(value) is int and not -_INT64 <= value < _INT64:
        return str(value) if value.bit_length() < 4096 else None
    if type(value) is dict:
        return {key: bounded(item, depth - 1) for key, item in value.items()} if depth else None
    if type(value) is list:
        return [bounded(item, depth - 1) for item in value] if depth else None
    return value


def unique(items: Iterable[str]) -> tuple[str, ...]:
    """The items without repetitions (case-insensitive), in order."""
    first: dict[str, str] = {}
    for item in items:
        first.setdefault(item.casefold(), item)
    return tuple(first.values())
