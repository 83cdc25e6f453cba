"""Weight files built byte by byte for the tests of this folder."""

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from warehouse.safetensors import DTYPE_BITS


def encode(header: object, payload: bytes = b"") -> bytes:
    """The bytes of a file; `header` is JSON text, bytes or anything `json.dumps` takes."""
    raw = header if isinstance(header, bytes) else json.dumps(header, ensure_ascii=False).encode()
    return struct.pack("<Q", len(raw)) + raw + payload


def lay_out(
    shapes: Mapping[str, tuple[str, tuple[int, ...]]], metadata: dict[str, str] | None = None
) -> dict[str, Any]:
    """A header that places tensors (name → dtype, shape) one after the other."""
    header: dict[str, Any] = {} if metadata is None else {"__metadata__": metadata}
    offset = 0
    for name, (dtype, shape) in shapes.items():
        size = math.prod(shape) * DTYPE_BITS[dtype] // 8
        header[name] = {"dtype": dtype, "shape": list(shape), "data_offsets": [offset, offset + size]}
        offset += size
    return header


def payload_size(header: dict[str, Any]) -> int:
    """Bytes that the tensors of `header` fill."""
    return max((e["data_offsets"][1] for key, e in header.items() if key != "__metadata__"), default=0)


def write(
    path: Path, shapes: Mapping[str, tuple[str, tuple[int, ...]]], metadata: dict[str, str] | None = None
) -> Path:
    """A sound file with a payload of zeros."""
    header = lay_out(shapes, metadata)
    path.write_bytes(encode(header, bytes(payload_size(header))))
    return path
