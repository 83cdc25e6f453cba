"""Any sentence-transformers model by its own loading code: GPUs, architectures other than BERT, images by CLIP.

Half precision on a GPU: the cosine against fp32 stays above 0.999 and the rate doubles. Does not belong here: the fast
path of the CPU (`onnx_encoder`).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.pictures.decoding import pixels_of
from warehouse.pictures.formats import UnknownPictureError
from warehouse.vectors.devices import Device
from warehouse.vectors.encoders.batching import unique_texts
from warehouse.vectors.encoders.protocol import EncoderError, EncoderIdentity, Progress
from warehouse.vectors.encoders.weights import ModelFolder

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_GPU_BATCH, _CPU_BATCH = 256, 16
_STEP = 1024
"""Texts handed to the model at a time, between two reports of progress."""
# What torch calls a device. ROCm answers to the name of CUDA.
_TORCH_NAMES = {"cuda": "cuda", "rocm": "cuda", "mps": "mps", "cpu": "cpu"}


def load_model(model: ModelFolder, device: Device, *, half: bool = False) -> Any:
    """A model as sentence-transformers loads it, on a device; in half precision where that is asked for.

    Raises:
        EncoderError: it cannot be loaded.
    """
    # The files are on disk already (`find_model`), so nothing is asked of a hub, whatever the model names.
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import torch
    from sentence_transformers import SentenceTransformer
    from transformers.utils.logging import disable_progress_bar

    # It would draw its own bar over the one of the run.
    disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        return SentenceTransformer(
            str(model.path),
            device=_TORCH_NAMES[device.kind],
            local_files_only=True,
            model_kwargs={"dtype": torch.float16} if half else {},
        )
    except (OSError, ValueError, RuntimeError, KeyError, ImportError) as error:
        raise EncoderError(
            f"the embedding model {model.name!r} ({model.path}) could not be loaded on {device.kind}: {error}"
        ) from error


class TorchEncoder:
    """An encoder on torch. Its texts pass through `SentenceTransformer.encode`."""

    def __init__(self, model: ModelFolder, device: Device) -> None:
        half = device.kind in {"cuda", "rocm"}
        self._model = load_model(model, device, half=half)
        self._batch = _GPU_BATCH if half or device.kind == "mps" else _CPU_BATCH
        width = self._model.encode(["width"], show_progress_bar=False).shape[1]
        precision = "fp16" if half else "fp32"
        self._identity = EncoderIdentity(model.name, model.digest, "torch", precision, device.kind, width)

    @property
    def identity(self) -> EncoderIdentity:
        """Which vectors this encoder makes."""
        return self._identity

    @property
    def reads_images(self) -> bool:
        """Whether the model places images and texts in one space."""
        return bool(self._model.supports("image"))

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> NDArray[np.float32]:
        """Unit vectors, float32, shape (len(texts), dimension), in the order of the texts."""
        import numpy as np

        distinct, places = unique_texts(texts)
        # Longest first over all of it, so that the texts of a step are of like length.
        order = sorted(range(len(distinct)), key=lambda position: -len(distinct[position]))
        vectors = np.empty((len(distinct), self._identity.dimension), dtype=np.float32)
        for start in range(0, len(order), _STEP):
            positions = order[start : start + _STEP]
            vectors[positions] = self._encode([distinct[position] for position in positions])
            if progress is not None:
                progress(start + len(positions), len(order))
        return vectors[places]

    def encode_images(self, paths: Sequence[Path]) -> tuple[list[int], NDArray[np.float32]]:
        """Positions of the images that could be read, and their unit vectors, float32, one row per position."""
        import numpy as np

        positions, images = [], []
        for position, path in enumerate(paths):
            try:
                images.append(pixels_of(path))
            except UnknownPictureError:
                continue
            positions.append(position)
        if not images:
            return [], np.empty((0, self._identity.dimension), dtype=np.float32)
        return positions, self._encode(images)

    def _encode(self, items: Sequence[Any]) -> NDArray[np.float32]:
        import numpy as np

        vectors = self._model.encode(
            list(items), batch_size=self._batch, show_progress_bar=False, normalize_embeddings=True
        )
        return np.asarray(vectors, dtype=np.float32)
