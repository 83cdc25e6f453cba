"""Structured logs: a line each on standard error, JSON unless set otherwise, with the id of the request it belongs to.

Belongs here: the format and the set-up. Does not: what is logged. Query strings and headers never are: they may carry
keys. Where the server writes them nevertheless, the keys are left out.
"""

import json
import logging
import re
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import msgspec

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""The id of the request that the current task or thread works on."""

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


_SECRETS = re.compile(r"(?i)\b(api_key=|signature=|x-api-key: |authorization: )[^&\s\"'][^&\n\"']*")
"""What the server and its libraries write of a request all the same: the line of every WebSocket has its query."""


def _without_secrets(text: str) -> str:
    return _SECRETS.sub(r"\1…", text)


class JsonLines(logging.Formatter):
    """Formats a record as one line of JSON; values passed as `extra` become fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, without its end. Whatever a value holds, it is one line: JSON escapes line ends."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC),
            "level": record.levelname,
            "logger": record.name,
            "message": _without_secrets(record.getMessage()),
        }
        if current := request_id.get():
            line["request_id"] = current
        line.update(_extra(record))
        if record.exc_info:
            line["exception"] = _without_secrets(self.formatException(record.exc_info))
        try:
            return msgspec.json.encode(line, enc_hook=str).decode()
        except UnicodeEncodeError:
            # A name of a file that is no text; the standard library writes it with an escape.
            return json.dumps(line, default=str)


class TextLines(logging.Formatter):
    """Formats a record for people at a terminal. Control characters of values are escaped, those of traces are not."""

    def format(self, record: logging.LogRecord) -> str:
        """The line, and below it the trace if there is one."""
        moment = datetime.fromtimestamp(record.created, UTC).astimezone().strftime("%H:%M:%S.%f")[:-3]
        named = {"request_id": request_id.get(), **_extra(record)}
        fields = " ".join(f"{name}={value}" for name, value in named.items() if value not in (None, ""))
        line = (
            f"{moment} {record.levelname:7} {record.name}: {_without_secrets(record.getMessage())}  {fields}".rstrip()
        )
        shown = "".join(each if each.isprintable() else ascii(each)[1:-1] for each in line)
        trace = f"\n{_without_secrets(self.formatException(record.exc_info))}" if record.exc_info else ""
        return shown + trace


def _extra(record: logging.LogRecord) -> dict[str, Any]:
    """What was passed as `extra`."""
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


def configure(level: str, style: str) -> None:
    """Send the log of this process through one handler, as `json` or `text`. The server's own access log gives way."""
    root = logging.getLogger()
    formatter = TextLines() if style == "text" else JsonLines()
    ours = next((each for each in root.handlers if isinstance(each.formatter, JsonLines | TextLines)), None)
    if ours is None:
        ours = logging.StreamHandler(sys.stderr)
        root.addHandler(ours)
    ours.setFormatter(formatter)
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = name != "uvicorn.access"
    # Every request to Dagster, and every look at the schema, would be lines.
    for name in ("httpx", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
