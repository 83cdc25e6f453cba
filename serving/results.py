"""Results of generations as answers show them: the row names its pictures, the answer holds their bytes.

A row keeps what the backend said and the digests of the pictures; the pictures are files (`warehouse.pictures`).
"""

import base64
from typing import Any, Final

from serving.encoding import API
from serving.signing import Signer
from warehouse.pictures import PictureStore
from warehouse.queries.jobs import JobRow

IMAGES: Final = f"{API}/generation/images"


class Results:
    """Reads results. Reading a result reads its pictures from disk: not for the event loop."""

    def __init__(self, pictures: PictureStore, signer: Signer) -> None:
        self._pictures = pictures
        self._signer = signer

    def shown(self, row: JobRow) -> dict[str, Any] | None:
        """The result of a job; None while there is none. Of a picture that was deleted since, `images` has none."""
        if row.result is None or "pictures" not in row.result:
            return row.result
        pictures = row.result["pictures"]
        rest = {name: value for name, value in row.result.items() if name != "pictures"}
        loaded = [(picture, self._pictures.get(picture["sha256"])) for picture in pictures]
        return {
            "images": [base64.b64encode(data).decode() for _, data in loaded if data is not None],
            "image_urls": [self.url(picture["sha256"]) for picture, data in loaded if data is not None],
            **rest,
        }

    def url(self, sha256: str) -> str:
        """A signed URL of a picture."""
        return self._signer.sign(f"{IMAGES}/{sha256}")
