"""Large texts of parameters, such as pictures in base64: files beside the database, named by their content, with a
reference in the row. Lists and events carry the reference; who does the job gets the text back.

Belongs here: taking them out, putting them back, and the end of those that no job refers to. Does not: files
(`warehouse.content`).
"""

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Text, cast, select

from warehouse.content import ContentFolder
from warehouse.engine import Database
from warehouse.models import Job
from warehouse.models.base import JsonObject

ATTACHED: Final = "$attached"
"""Member of a reference: the digest of the text. `bytes` beside it is its size."""
LARGEST: Final = 16 * 2**10
"""Characters of a text that stays in the row."""
_SHOWN: Final = frozenset({"negative_prompt"})
"""Parameters that lists show as the texts they are."""
_CHUNK: Final = 200


class AttachmentLostError(RuntimeError):
    """The file of a reference is gone."""


def detached(params: Mapping[str, Any], folder: Path) -> JsonObject:
    """Parameters with references in the place of large texts, which are written to files. Not for an event loop.

    Raises:
        OSError: they cannot be written.
    """
    files = ContentFolder(folder)
    return {name: item if name in _SHOWN else _detached(item, files) for name, item in params.items()}


def _detached(value: Any, files: ContentFolder) -> Any:
    if isinstance(value, Mapping):
        return {name: _detached(item, files) for name, item in value.items()}
    if isinstance(value, list):
        return [_detached(item, files) for item in value]
    # Anything else than plain text is refused where it would have been: with the row.
    if isinstance(value, str) and len(value) > LARGEST and value.isascii() and "\x00" not in value:
        return {ATTACHED: files.keep(value.encode()), "bytes": len(value)}
    return value


def attached(params: Mapping[str, Any], folder: Path) -> JsonObject:
    """Parameters with their large texts again. Not for an event loop.

    Raises:
        AttachmentLostError: one is gone.
    """
    files = ContentFolder(folder)
    return {name: _attached(item, files) for name, item in params.items()}


def _attached(value: Any, files: ContentFolder) -> Any:
    if isinstance(value, list):
        return [_attached(item, files) for item in value]
    if not isinstance(value, Mapping):
        return value
    if ATTACHED not in value:
        return {name: _attached(item, files) for name, item in value.items()}
    try:
        return files.place(value[ATTACHED]).read_text(encoding="ascii")
    except FileNotFoundError as error:
        raise AttachmentLostError(
            f"{value['bytes']:,} bytes of its parameters are gone from the data folder"
        ) from error


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        if ATTACHED in value:
            yield value[ATTACHED]
        for item in value.values():
            yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


def collect_attachments(database: Database, folder: Path) -> int:
    """Remove the files that no job refers to and that were not written lately; returns how many."""
    files = ContentFolder(folder)
    removed, old = 0, files.old()
    with database.read() as connection:
        # Few jobs have any; all of them are read once, in the upkeep alone.
        rows = connection.execute(
            select(Job.params).where(cast(Job.params, Text).contains(ATTACHED)).execution_options(yield_per=_CHUNK)
        )
        needed = {digest for (params,) in rows for digest in _references(params)}
    while chunk := list(islice(old, _CHUNK)):
        removed += sum(files.discard(path) for path in chunk if path.name not in needed)
    return removed
