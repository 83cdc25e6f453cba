"""Files of pictures that no row needs: of jobs that died before their end was written, and of results whose bytes were
too young to go when they were deleted.
"""

from itertools import islice
from typing import Final

from warehouse.engine import Database
from warehouse.pictures.store import PictureStore
from warehouse.queries import generated_images

_CHUNK: Final = 200


def collect_pictures(database: Database, store: PictureStore) -> int:
    """Remove what was not put lately and is not needed by a picture that is kept; returns how many files."""
    removed, old = 0, store.old()
    while chunk := list(islice(old, _CHUNK)):
        with database.read() as connection:
            needed = generated_images.needed_among(connection, [digest for digest, _ in chunk])
        removed += sum(store.discard_file(path) for digest, path in chunk if digest not in needed)
    return removed
