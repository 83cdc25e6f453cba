"""The cache of exported graphs: one folder per model, written atomically, verified whenever it is opened.

Does not belong here: what is in a graph (`bert`) and how it is run (`onnx_encoder`).
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from pathlib import Path

from warehouse.generations import file_sha256
from warehouse.vectors.encoders.bert import GRAPH_VERSION, BertConfig, build_graph
from warehouse.vectors.encoders.protocol import EncoderError
from warehouse.vectors.encoders.weights import ModelFolder

_GRAPH, _MANIFEST = "model.onnx", "manifest.json"


def exported_graph(model: ModelFolder, config: BertConfig, cache: Path, *, precision: str) -> Path:
    """The verified ONNX file of a model, built on first use.

    Args:
        cache: folder of all exported models (`Settings.models_dir`).
        precision: fp32 or int8.

    Raises:
        EncoderError: the cache cannot be written, or the weights are damaged.
    """
    folder = cache / f"{model.digest[:24]}-{precision}-{GRAPH_VERSION}"
    if not _is_whole(folder):
        graph = build_graph(model.path, config, int8=precision == "int8")
        try:
            _store(folder, graph, model)
        except OSError as error:
            raise EncoderError(
                f"the exported model could not be written below {cache}: {error.strerror or error}; "
                "free disk space or set LORA_MANAGER_DATA_DIR to a folder that can be written"
            ) from error
    return folder / _GRAPH


def forget_graphs(cache: Path, digest: str) -> None:
    """Remove the graphs of a model that is not used any more; they would be built again."""
    for folder in cache.glob(f"{digest[:24]}-*"):
        shutil.rmtree(folder, ignore_errors=True)


def _is_whole(folder: Path) -> bool:
    try:
        manifest = json.loads((folder / _MANIFEST).read_text(encoding="utf-8"))
        return bool(manifest["sha256"] == file_sha256(folder / _GRAPH))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _store(folder: Path, graph: bytes, model: ModelFolder) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=".building-", dir=folder.parent))
    try:
        with (building / _GRAPH).open("wb") as file:
            file.write(graph)
            file.flush()
            os.fsync(file.fileno())
        manifest = {"model": model.name, "model_digest": model.digest, "sha256": file_sha256(building / _GRAPH)}
        (building / _MANIFEST).write_text(json.dumps(manifest, indent=1), encoding="utf-8")
        if folder.exists() and not _is_whole(folder):
            shutil.rmtree(folder)
        try:
            building.rename(folder)
        except OSError:
            # Another process was faster; its file is as good as ours if it is whole.
            if not _is_whole(folder):
                raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
