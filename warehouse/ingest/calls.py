"""What workers can be asked for, and the frames in which question and answer travel through a pipe.

Does not belong here: the computations, which are `bundles` and `deriving`; the two ends, `pool` and `worker`.
"""

from collections.abc import Callable, Sequence
from enum import IntEnum
from typing import IO, Any

from warehouse.ingest import bundles, deriving
from warehouse.ingest.steps import Fault


class Call(IntEnum):
    """What a worker can be asked for."""

    READ = 1
    DERIVE = 2


CALLS: dict[Call, tuple[Callable[[Sequence[Any], int], list[Any | Fault]], Any, Any]] = {
    Call.READ: (bundles.read_bundles, bundles.BundleReadTask, bundles.BundleRead),
    Call.DERIVE: (deriving.derive_all, deriving.BundleTask, deriving.Derived),
}
"""Function (tasks, largest document in bytes), type of its tasks, type of its results."""

_LENGTH_BYTES = 4


def write_frame(stream: IO[bytes], payload: bytes) -> None:
    """A frame is its length and its bytes."""
    stream.write(len(payload).to_bytes(_LENGTH_BYTES, "big"))
    stream.write(payload)
    stream.flush()


def read_frame(stream: IO[bytes]) -> bytes | None:
    """The next frame; None when the other side is gone."""
    start = stream.read(_LENGTH_BYTES)
    if len(start) < _LENGTH_BYTES:
        return None
    length = int.from_bytes(start, "big")
    payload = stream.read(length)
    return payload if len(payload) == length else None
