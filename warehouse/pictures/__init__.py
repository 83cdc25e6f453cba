"""Generated pictures: kept once each by their content, and the infotext that a download of one carries.

Belongs here: bytes of pictures and what is written into a copy of them. Does not: rows about pictures (`models`) and
which job made which. Pictures are kept as the backend sent them; only a copy for download is ever written into.
"""

from warehouse.pictures.formats import PictureFormat, UnknownPictureError, sniff
from warehouse.pictures.infotext import Infotext, with_infotext
from warehouse.pictures.store import PictureStore, StoredPicture

__all__ = [
    "Infotext",
    "PictureFormat",
    "PictureStore",
    "StoredPicture",
    "UnknownPictureError",
    "sniff",
    "with_infotext",
]
