"""What the statements of a process cost: counted by kind, and logged one by one when they are slow.

Belongs here: listening to an engine, the kind and the fingerprint of a statement, the wait for a connection. Does not:
how figures are shown (`serving.metrics`) and how a line of the log looks. Parameters are never looked at: they are the
users' data.

A kind is a verb and a table of ours, so that there are at most some hundred; everything else is `other`. The time of a
statement is that of its execution: SQLite finds the rows of a SELECT after the first one while they are fetched.
"""

import hashlib
import logging
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, event

from warehouse.models import Base

OTHER = "other"
_VERBS = frozenset(("select", "insert", "update", "delete", "begin", "pragma"))
_KNOWN_AT_MOST = 4096
"""Texts of statements whose kind is remembered; SQLAlchemy itself keeps fewer."""
_SHOWN_CHARACTERS = 400

_VERB = re.compile(r"[\s(]*([a-z]+)", re.IGNORECASE)
_TABLE = re.compile(r"\b(?:from|into|update|join)\s+\"?([a-z_][a-z0-9_]*)", re.IGNORECASE)
_LITERALS = re.compile(r"'(?:[^']|'')*'|\b\d+(?:\.\d+)?\b")
_PLACEHOLDERS = re.compile(r"\?|%\([^)]*\)s(?:::\w+(?:\[\])?)?|:\w+")
_LISTS = re.compile(r"\?(?:\s*,\s*\?)+")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Kind:
    """What a statement does, to which of our tables."""

    verb: str
    table: str


@dataclass(slots=True)
class Spent:
    """How often, and how long in all."""

    count: int = 0
    nanoseconds: int = 0

    @property
    def seconds(self) -> float:
        """The time in seconds."""
        return self.nanoseconds / 1e9


Executed = Callable[[Kind, int], None]
"""Told of each statement that was executed: its kind and its nanoseconds."""


def kind_of(statement: str) -> Kind:
    """The kind of a statement. A statement that begins with WITH is told by the first verb and table it names."""
    found = _VERB.match(statement)
    verb = found.group(1).lower() if found else OTHER
    if verb == "with":
        verb = next((word for word in ("insert", "update", "delete") if f"{word} " in statement.lower()), "select")
    if verb not in _VERBS:
        verb = OTHER
    tables = (name.lower() for name in _TABLE.findall(statement))
    return Kind(verb, next((name for name in tables if name in Base.metadata.tables), OTHER))


def normalise(statement: str) -> str:
    """The text of a statement on one line, with every literal and parameter as `?` and lists of them as one."""
    text = _PLACEHOLDERS.sub("?", _LITERALS.sub("?", statement))
    return " ".join(_LISTS.sub("?", text).split())


def fingerprint(statement: str) -> str:
    """Sixteen hexadecimal digits that statements share which differ in values and lengths of lists alone."""
    return hashlib.sha256(normalise(statement).encode("utf-8", "replace")).hexdigest()[:16]


class Statements:
    """The figures of one engine; safe in any number of threads."""

    def __init__(self, slow_seconds: float, executed: Executed | None = None) -> None:
        self._executed = executed
        self._slow = int(slow_seconds * 1e9)
        self._lock = threading.Lock()
        self._kinds: dict[str, Kind] = {}
        self._spent: dict[Kind, Spent] = {}

    def snapshot(self) -> dict[Kind, Spent]:
        """What was spent so far, by kind."""
        with self._lock:
            return {kind: Spent(spent.count, spent.nanoseconds) for kind, spent in self._spent.items()}

    def add(self, statement: str, nanoseconds: int, rows: int) -> None:
        """Count a statement that was executed; `rows` is -1 where the driver does not know."""
        with self._lock:
            kind = self._kinds.get(statement)
            if kind is None:
                kind = self._learn(statement)
            spent = self._spent[kind]
            spent.count += 1
            spent.nanoseconds += nanoseconds
        if nanoseconds >= self._slow:
            _log_slow(statement, kind, nanoseconds, rows)
        if self._executed is not None:
            self._executed(kind, nanoseconds)

    def _learn(self, statement: str) -> Kind:
        if len(self._kinds) >= _KNOWN_AT_MOST:
            self._kinds.clear()
        kind = self._kinds[statement] = kind_of(statement)
        self._spent.setdefault(kind, Spent())
        return kind


def _log_slow(statement: str, kind: Kind, nanoseconds: int, rows: int) -> None:
    _log.warning(
        "slow statement",
        extra={
            "fingerprint": fingerprint(statement),
            "ms": round(nanoseconds / 1e6, 1),
            "rows": rows if rows >= 0 else None,
            "verb": kind.verb,
            "table": kind.table,
            "statement": normalise(statement)[:_SHOWN_CHARACTERS],
        },
    )


def observe(engine: Engine, *, slow_seconds: float, executed: Executed | None = None) -> Statements:
    """Count every statement of an engine from now on, log those that take at least so long, and tell of each."""
    statements = Statements(slow_seconds, executed)
    add, now = statements.add, time.perf_counter_ns

    @event.listens_for(engine, "before_cursor_execute")
    def _before(
        _connection: object, _cursor: object, _statement: str, _parameters: object, context: Any, _many: bool
    ) -> None:
        context.began_ns = now()

    @event.listens_for(engine, "after_cursor_execute")
    def _after(
        _connection: object, cursor: Any, statement: str, _parameters: object, context: Any, _many: bool
    ) -> None:
        add(statement, now() - context.began_ns, cursor.rowcount)

    return statements
