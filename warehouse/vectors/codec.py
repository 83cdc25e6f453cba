"""How a vector is kept in `embeddings.embedding_data`: float16, little-endian, unit length, nothing else.

Half the bytes of float32; the cosine changes by less than 1e-6. Pure but for numpy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

STORED_DTYPE = "<f2"


def encode_vectors(vectors: NDArray[np.float32]) -> list[bytes]:
    """One byte string per row."""
    return [row.tobytes() for row in vectors.astype(STORED_DTYPE)]


def decode_vector(data: bytes) -> NDArray[np.float32]:
    """The unit vector of a stored one, float32, shape (dimension,)."""
    vector: NDArray[np.float32] = decode_vectors([data])[0]
    return vector


def decode_vectors(data: Sequence[bytes]) -> NDArray[np.float32]:
    """The unit vectors of stored ones of one dimension, float32, shape (len(data), dimension).

    Raises:
        ValueError: they are not of one dimension.
    """
    import numpy as np

    if not data:
        return np.empty((0, 0), dtype=np.float32)
    if len(set(map(len, data))) != 1:
        raise ValueError("stored vectors of different dimensions cannot stand in one matrix")
    vectors = np.frombuffer(b"".join(data), dtype=STORED_DTYPE).reshape(len(data), -1).astype(np.float32)
    # Rounding to half precision leaves the length off by up to 1e-3.
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return vectors
