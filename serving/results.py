"""Results of generations as answers show them: the row names its pictures, the answer holds their bytes.

A row keeps what the backend said and the digests of the pictures; the pictures are files (`warehouse.pictures`).
"""

import base64
from pathlib import Path
from typing import Any, Final

from serving.encoding import API
from serving.signing import Signer
from warehouse.engine import Database
from warehouse.generating import PICTURES
from warehouse.pictures import PictureFormat, PictureStore
from warehouse.queries import generated_images
from warehouse.queries.jobs import JobRow

IMAGES: Final = f"{API}/generation/images"


class Results:
    """Reads results. Reading a result reads its pictures from disk: not for the event loop."""

    def __init__(self, database: Database, pictures: PictureStore, signer: Signer) -> None:
        self._database = database
        self._pictures = pictures
        self._signer = signer

    def shown(self, row: JobRow) -> dict[str, Any] | None:
        """The result of a job; None while there is none. Of a picture that was deleted since, `images` has none."""
        digests = _digests(row)
        if row.result is None or digests is None:
            return row.result
        with self._database.read() as connection:
            deleted = generated_images.deleted_among(connection, digests)
        loaded = [(digest, self._pictures.get(digest)) for digest in digests if digest not in deleted]
        return {
            "images": [base64.b64encode(data).decode() for _, data in loaded if data is not None],
            "image_urls": [self.url(digest) for digest, data in loaded if data is not None],
            **_rest(row.result),
        }

    def listed(self, row: JobRow) -> dict[str, Any] | None:
        """The same without the bytes of pictures: for lists, and for the event loop."""
        digests = _digests(row)
        if row.result is None or digests is None:
            return row.result
        return {"image_urls": [self.url(digest) for digest in digests], **_rest(row.result)}

    def path_of(self, sha256: str) -> tuple[Path, PictureFormat] | None:
        """Where a picture that is shown lies; None where there is none, or none any more."""
        found = self._pictures.path_of(sha256)
        if found is None:
            return None
        with self._database.read() as connection:
            return None if generated_images.deleted_among(connection, [sha256]) else found

    def url(self, sha256: str) -> str:
        """A signed URL of a picture."""
        return self._signer.sign(f"{IMAGES}/{sha256}")


def _digests(row: JobRow) -> list[str] | None:
    """The digests of the pictures of a job; None where its result has none, or they are none of ours."""
    pictures = (row.result or {}).get(PICTURES)
    if not isinstance(pictures, list):
        return None
    return [str(picture["sha256"]) for picture in pictures if isinstance(picture, dict) and "sha256" in picture]


def _rest(result: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in result.items() if name != PICTURES}
