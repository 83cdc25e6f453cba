"""Many API documents without weights, for measuring how fast they are read.

Belongs here: volume. Does not: variety of formats and files (`library`).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from random import Random

import msgspec

from warehouse.samples.documents import api_model
from warehouse.samples.folder import SampleFolder
from warehouse.samples.naming import Names
from warehouse.samples.records import RecordMaker

_PER_FOLDER = 1000


def generate_documents(
    path: Path, *, documents: int, seed: int = 0, progress: Callable[[int, int], None] | None = None
) -> int:
    """Write `documents` model documents into `path`, a thousand per folder; the number of bytes written.

    Sizes are distributed as the site's are (median 9 kB, one in a hundred above 50 kB). Equal arguments give
    equal bytes; the folder must be new, empty or made by the same call. Raises `SampleError` as
    `generate_library` does.
    """
    folder = SampleFolder(path, {"format": 1, "documents": documents, "seed": seed})
    random = Random(f"sample documents {seed}")  # noqa: S311 - samples, not secrets
    records = RecordMaker(random)
    names = Names()
    encode = msgspec.json.Encoder().encode
    for number in range(documents):
        model = records.model(names.subject(random))
        folder.write(f"{number // _PER_FOLDER:04d}/{model.model_id}.json", encode(api_model(random, model)))
        if progress is not None and number % _PER_FOLDER == _PER_FOLDER - 1:
            progress(number + 1, documents)
    return folder.bytes
