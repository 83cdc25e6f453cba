"""What an encoder is: texts in, unit vectors out, and an identity by which vectors are known to be comparable.

Does not belong here: any backend.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Progress = Callable[[int, int], None]
"""Called with (done, total) after each batch."""


class EncoderError(RuntimeError):
    """A model cannot be used here. The message says which, why, and what to do."""


@dataclass(frozen=True, slots=True)
class EncoderIdentity:
    """Which vectors an encoder makes.

    `digest` is the SHA-256 over the model's weights, tokenizer and configuration; `backend` is onnxruntime or torch;
    `precision` is fp32, fp16 or int8; `device` is where it runs; `dimension` is that of its vectors.
    """

    model_name: str
    digest: str
    backend: str
    precision: str
    device: str
    dimension: int

    @property
    def version(self) -> str:
        """What makes vectors comparable; see `comparable_version`."""
        return comparable_version(self.digest, self.precision)


def comparable_version(digest: str, precision: str) -> str:
    """The weights, and int8 apart from all else.

    fp32 and fp16 of one model agree to a cosine of 0.999, so that a library embedded on a CPU goes on on a GPU without
    computing anything anew; int8 does not.
    """
    return f"{digest[:24]}-{'int8' if precision == 'int8' else 'float'}"


@runtime_checkable
class Encoder(Protocol):
    """Turns texts into vectors."""

    @property
    def identity(self) -> EncoderIdentity:
        """Which vectors this encoder makes."""

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> NDArray[np.float32]:
        """Unit vectors, float32, shape (len(texts), dimension), in the order of the texts.

        Equal texts are computed once. Text beyond the model's maximal length is ignored, as the model's own loading
        code does it.
        """


@runtime_checkable
class ImageEncoder(Encoder, Protocol):
    """An encoder that reads images too, where its model places them among the texts."""

    @property
    def reads_images(self) -> bool:
        """Whether the model does."""

    def encode_images(self, paths: Sequence[Path]) -> tuple[list[int], NDArray[np.float32]]:
        """Positions of the images that could be read, and their unit vectors, float32, one row per position."""
