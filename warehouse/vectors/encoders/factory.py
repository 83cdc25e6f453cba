"""Which encoder runs a model here: ONNX Runtime for BERT-like models on the CPU, torch for everything else.

Does not belong here: the encoders.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from threading import Lock
from typing import Literal

from warehouse.settings import Settings
from warehouse.vectors.devices import Device, choose_device
from warehouse.vectors.encoders.bert import BertConfig, read_config
from warehouse.vectors.encoders.onnx_encoder import open_onnx_encoder
from warehouse.vectors.encoders.protocol import Encoder, EncoderError, comparable_version
from warehouse.vectors.encoders.weights import ModelFolder, find_model

AUTO_PRECISION: Literal["fp32", "int8"] = "fp32"
"""What `embedding_precision = auto` means on a CPU.

int8 is twice as fast and finds adapters by held-out prompts as often (0.852 of 786 real ones against 0.851), but keeps
only 0.89 of the ten nearest neighbours of fp32, at a mean cosine of 0.993. Keeping any one kind of layer exact costs
up to a third of the gain and leaves the cosine below 0.998 (`tests/benchmarks/embedding.py`).
"""


@dataclass(frozen=True, slots=True)
class _Plan:
    """How a model will be run. `config` is None for torch."""

    model: ModelFolder
    device: Device
    config: BertConfig | None
    precision: Literal["fp32", "int8"]


def _plan(settings: Settings, model_name: str) -> _Plan:
    try:
        device = choose_device(settings.device)
    except LookupError as error:
        raise EncoderError(str(error)) from error
    model = find_model(model_name, offline=settings.offline, generations=settings.generations_dir)
    config = read_config(model.path) if device.kind == "cpu" else None
    if settings.embedding_precision == "int8" and config is None:
        raise EncoderError(
            f"{model_name!r} has no int8 mode on {device.kind}: it is for BERT-like models on a CPU. "
            "Set LORA_MANAGER_EMBEDDING_PRECISION to auto"
        )
    wanted = AUTO_PRECISION if settings.embedding_precision == "auto" else settings.embedding_precision
    return _Plan(model, device, config, wanted if config is not None else "fp32")


def model_version(settings: Settings, model_name: str) -> str:
    """`EncoderIdentity.version` of the encoder that `open_encoder` gives, without loading the model.

    Raises:
        EncoderError: as `open_encoder`.
    """
    plan = _plan(settings, model_name)
    return comparable_version(plan.model.digest, plan.precision)


def model_origin(settings: Settings, model_name: str) -> str:
    """The digest of the model that a fine-tuned one was made from; of any other its own.

    Raises:
        EncoderError: the model is not there.
    """
    return find_model(model_name, offline=settings.offline, generations=settings.generations_dir).origin


def open_encoder(settings: Settings, model_name: str) -> Encoder:
    """The encoder of a model on the device of the settings.

    Raises:
        EncoderError: the model or the device is not there, or they do not go together.
    """
    plan = _plan(settings, model_name)
    if plan.config is not None:
        return open_onnx_encoder(plan.model, plan.config, settings.models_dir, precision=plan.precision)
    from warehouse.vectors.encoders.torch_encoder import TorchEncoder

    return TorchEncoder(plan.model, plan.device)


@cache
def _resolved(folder: Path) -> Path:
    """Where a folder lies whatever it is called, looked up once: each question asks for it three times."""
    return folder.resolve()


_shared: dict[tuple[str, str, str, Path], Encoder] = {}
_lock = Lock()


def shared_encoder(settings: Settings, model_name: str) -> Encoder:
    """As `open_encoder`, but one per model in a process: the three spaces mostly use the same.

    Raises:
        EncoderError: as `open_encoder`.
    """
    key = (model_name, settings.device, settings.embedding_precision, _resolved(settings.models_dir))
    with _lock:
        if key not in _shared:
            _shared[key] = open_encoder(settings, model_name)
        return _shared[key]
