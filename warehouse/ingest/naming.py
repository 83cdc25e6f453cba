"""Distinct versions for adapters that bear the same name and version.

Belongs here: which version an adapter gets. It depends on the adapter alone (its number, file and folder), so that
the order of a scan decides only who keeps the plain one. Does not: SQL.
"""

import hashlib
from collections.abc import Iterator
from pathlib import PurePosixPath

from warehouse.ingest.deriving import DerivedAdapter

NameKey = tuple[str, str]
"""(name, version), an absent version counting as the empty one: what is unique."""


def key(name: str, version: str | None) -> NameKey:
    """What must be unique of a name and a version."""
    return name, version or ""


def candidates(draft: DerivedAdapter) -> Iterator[str | None]:
    """The versions an adapter may get, the plain one first; the last one is nobody else's."""
    version: str | None = draft.columns.version
    yield version
    path = PurePosixPath(draft.columns.file_path)
    number = draft.columns.civitai_version_id
    qualifiers = [] if number is None else [str(number)]
    qualifiers += [path.stem, f"{path.parent.name}/{path.stem}"]
    qualifiers.append(hashlib.blake2b(draft.source_key.encode(), digest_size=6).hexdigest())
    for qualifier in qualifiers:
        yield f"{version} ({qualifier})" if version else f"({qualifier})"
