"""Reading published marts from programs: a few rows for an answer, never a whole table.

Belongs here: rows of one mart, remembered per generation, which never changes. Does not: SQL (`query`).
"""

import errno
from functools import lru_cache
from pathlib import Path
from typing import Any

from warehouse.engine import Database
from warehouse.generations import readable
from warehouse.marts.catalog import KIND, mart_files
from warehouse.settings import Settings

MAX_ROWS = 10_000
"""More than this is a matter for SQL."""


def read_mart(database: Database, settings: Settings, name: str, *, limit: int = 1_000) -> list[dict[str, Any]]:
    """The first rows of a mart of the current generation; an aggregate's come in the order of its declaration.

    Of a mart in days, the newest day comes first. Empty before the first publication. The same rows of the same
    generation are read from disk once per process; they are the caller's to change.

    Raises:
        KeyError: there is no such mart.
        ValueError: `limit` is not within 0..MAX_ROWS, or a file is damaged.
        OSError: the files of the generation cannot be read.
    """
    if not 0 <= limit <= MAX_ROWS:
        raise ValueError(f"limit {limit} is not within 0..{MAX_ROWS}")
    published = readable(database, settings, KIND)
    if published is None:
        return []
    if name not in published.manifest["marts"]:
        raise KeyError(f"no mart {name!r} is published; there are {', '.join(published.manifest['marts'])}")
    return [dict(row) for row in _rows(published.path, name, limit)]


@lru_cache(maxsize=128)
def _rows(folder: Path, name: str, limit: int) -> tuple[dict[str, Any], ...]:
    import pyarrow.parquet as pq

    if not folder.is_dir():
        # Not an empty mart, which would be remembered after the folder is back.
        raise FileNotFoundError(errno.ENOENT, "the published files are gone", str(folder))
    rows: list[dict[str, Any]] = []
    for path in reversed(mart_files(folder, name)):
        if len(rows) >= limit:
            break
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=min(limit, 1_000)):
                rows.extend(batch.slice(0, limit - len(rows)).to_pylist())
                if len(rows) >= limit:
                    break
    return tuple(rows)
