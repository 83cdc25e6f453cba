"""A BERT-like sentence encoder as one ONNX graph: token numbers and a mask in, unit vectors out.

Belongs here: the architecture, read from a model's own configuration and weights, written in the operators that ONNX
Runtime executes as one kernel each (its `com.microsoft` domain). Built rather than traced: no torch is needed, the
graph is the same whatever version of it is installed, and pooling and normalisation are inside.
Does not belong here: where the file is kept (`export`) and how it is run (`onnx_encoder`).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.safetensors import HeaderError, read_header
from warehouse.vectors.encoders.protocol import EncoderError

if TYPE_CHECKING:
    import numpy as np
    import onnx
    from numpy.typing import NDArray

    Array = NDArray[np.float32]

GRAPH_VERSION = "2"
"""Changed whenever the graph built from the same weights would differ."""

_FUSED = "com.microsoft"
_OPSET, _FUSED_OPSET, _IR_VERSION = 21, 1, 10
_WEIGHTS = "model.safetensors"
_KNOWN_MODULES = frozenset({"Transformer", "Pooling", "Normalize"})
_NUMPY_DTYPES = {"F32": "<f4", "F16": "<f2", "F64": "<f8"}


@dataclass(frozen=True, slots=True)
class BertConfig:
    """What the graph needs to know of a model. `pooling` is mean or cls; lengths are in tokens."""

    layers: int
    heads: int
    hidden: int
    epsilon: float
    max_length: int
    pooling: str
    pad_token: int


def _load(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def _pooling(folder: Path) -> str | None:
    """How token vectors become one: mean, cls, or None for a way that the graph does not know."""
    modules = _load(folder / "modules.json")
    if not modules or not {str(item.get("type", "")).rpartition(".")[2] for item in modules} <= _KNOWN_MODULES:
        return None
    settings = _load(folder / "1_Pooling" / "config.json")
    modes = {
        key.removeprefix("pooling_mode_") for key, on in settings.items() if key.startswith("pooling_") and on is True
    }
    modes |= {settings["pooling_mode"]} if isinstance(settings.get("pooling_mode"), str) else set()
    return {frozenset({"mean_tokens"}): "mean", frozenset({"mean"}): "mean", frozenset({"cls_token"}): "cls",
            frozenset({"cls"}): "cls"}.get(frozenset(modes))  # fmt: skip


def read_config(folder: Path) -> BertConfig | None:
    """The configuration of a model that the graph can express; None for every other, which torch runs."""
    config, sentence = _load(folder / "config.json"), _load(folder / "sentence_bert_config.json")
    prompts = _load(folder / "config_sentence_transformers.json")
    pooling = _pooling(folder)
    expressible = (
        pooling is not None
        and config.get("model_type") == "bert"
        and config.get("hidden_act") == "gelu"
        and config.get("position_embedding_type", "absolute") == "absolute"
        and not sentence.get("do_lower_case")
        and not prompts.get("default_prompt_name")
        and (folder / _WEIGHTS).is_file()
        and (folder / "tokenizer.json").is_file()
    )
    if not expressible or pooling is None:
        return None
    positions = int(config["max_position_embeddings"])
    return BertConfig(
        layers=int(config["num_hidden_layers"]),
        heads=int(config["num_attention_heads"]),
        hidden=int(config["hidden_size"]),
        epsilon=float(config["layer_norm_eps"]),
        max_length=min(positions, int(sentence.get("max_seq_length") or positions)),
        pooling=pooling,
        pad_token=int(config.get("pad_token_id") or 0),
    )


def _read_weights(path: Path) -> dict[str, Array]:
    import numpy as np

    try:
        header = read_header(path)
    except HeaderError as error:
        raise EncoderError(f"the weights of an embedding model cannot be read: {error}") from error
    raw = np.memmap(path, mode="r", offset=header.payload_offset)
    weights: dict[str, Array] = {}
    for name, tensor in header.tensors.items():
        if tensor.dtype in _NUMPY_DTYPES:
            begin, end = tensor.data_offsets
            values = raw[begin:end].view(_NUMPY_DTYPES[tensor.dtype]).reshape(tensor.shape)
            weights[name.removeprefix("bert.")] = values.astype(np.float32)
    return weights


class _Graph:
    """Nodes and constants of a graph under construction. With `int8`, weights are quantised per output channel."""

    def __init__(self, *, int8: bool) -> None:
        self.int8 = int8
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, values: Any) -> str:
        import numpy as np
        from onnx import numpy_helper

        name = f"constant_{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def node(self, operator: str, inputs: list[str], *, domain: str = "", outputs: int = 1, **attributes: Any) -> str:
        """Append a node; returns the name of its first output, the others end in _1, _2, …"""
        from onnx import helper

        name = f"{operator}_{len(self.nodes)}"
        names = [name, *(f"{name}_{number}" for number in range(1, outputs))]
        self.nodes.append(helper.make_node(operator, inputs, names, domain=domain, **attributes))
        return name

    def linear(self, x: str, weight: Array, bias: Array, *, exact: bool = False) -> str:
        """x · weight + bias, `weight` of shape (inputs, outputs)."""
        import numpy as np

        if exact or not self.int8:
            return self.node("Add", [self.node("MatMul", [x, self.constant(weight)]), self.constant(bias)])
        scale = np.maximum(np.abs(weight).max(axis=0) / 127, np.finfo(np.float32).tiny).astype(np.float32)
        quantised = np.clip(np.rint(weight / scale), -127, 127).astype(np.int8)
        inputs = [x, self.constant(quantised), self.constant(scale), "", self.constant(bias)]
        return self.node("DynamicQuantizeMatMul", inputs, domain=_FUSED)


def build_graph(folder: Path, config: BertConfig, *, int8: bool) -> bytes:
    """The ONNX model of a folder that `read_config` accepted.

    Inputs `tokens` and `mask`: int32 (batch, length). Output `vectors`: float32 (batch, hidden), unit length.

    Raises:
        EncoderError: the weights are damaged, or not those that the configuration promises.
    """
    weights = _read_weights(folder / _WEIGHTS)
    graph = _Graph(int8=int8)
    try:
        x = _embeddings(graph, weights, config)
        for layer in range(config.layers):
            x = _layer(graph, weights, config, f"encoder.layer.{layer}.", x)
    except KeyError as error:
        raise EncoderError(f"{folder / _WEIGHTS} is no BERT as its config.json says: it has no {error}") from error
    _pool(graph, config, x)
    return _serialise(graph, config)


def _embeddings(graph: _Graph, weights: dict[str, Array], config: BertConfig) -> str:
    prefix = "embeddings."
    # Every token is of the first segment, so its vector is part of the position's.
    positions = weights[f"{prefix}position_embeddings.weight"] + weights[f"{prefix}token_type_embeddings.weight"][0]
    inputs = [
        "tokens",
        "",
        graph.constant(weights[f"{prefix}word_embeddings.weight"]),
        graph.constant(positions),
        "",
        graph.constant(weights[f"{prefix}LayerNorm.weight"]),
        graph.constant(weights[f"{prefix}LayerNorm.bias"]),
    ]
    return graph.node("EmbedLayerNormalization", inputs, domain=_FUSED, outputs=2, epsilon=config.epsilon)


def _add_and_normalise(graph: _Graph, weights: dict[str, Array], epsilon: float, prefix: str, x: str, skip: str) -> str:
    gamma, beta = graph.constant(weights[f"{prefix}weight"]), graph.constant(weights[f"{prefix}bias"])
    return graph.node("SkipLayerNormalization", [x, skip, gamma, beta], domain=_FUSED, epsilon=epsilon)


def _layer(graph: _Graph, weights: dict[str, Array], config: BertConfig, prefix: str, x: str) -> str:
    attended = _attention(graph, weights, config, f"{prefix}attention.self.", x)
    output = f"{prefix}attention.output."
    attended = graph.linear(attended, weights[f"{output}dense.weight"].T, weights[f"{output}dense.bias"])
    x = _add_and_normalise(graph, weights, config.epsilon, f"{output}LayerNorm.", attended, x)

    inner = f"{prefix}intermediate.dense."
    if graph.int8:
        raised = graph.node(
            "Gelu", [graph.linear(x, weights[f"{inner}weight"].T, weights[f"{inner}bias"])], domain=_FUSED
        )
    else:
        product = graph.node("MatMul", [x, graph.constant(weights[f"{inner}weight"].T)])
        raised = graph.node("BiasGelu", [product, graph.constant(weights[f"{inner}bias"])], domain=_FUSED)
    outer = f"{prefix}output."
    lowered = graph.linear(raised, weights[f"{outer}dense.weight"].T, weights[f"{outer}dense.bias"])
    return _add_and_normalise(graph, weights, config.epsilon, f"{outer}LayerNorm.", lowered, x)


def _attention(graph: _Graph, weights: dict[str, Array], config: BertConfig, prefix: str, x: str) -> str:
    import numpy as np

    parts = ("query", "key", "value")
    weight = np.concatenate([weights[f"{prefix}{part}.weight"].T for part in parts], axis=1)
    bias = np.concatenate([weights[f"{prefix}{part}.bias"] for part in parts])
    if not graph.int8:
        inputs = [x, graph.constant(weight), graph.constant(bias), "mask"]
        return graph.node("Attention", inputs, domain=_FUSED, num_heads=config.heads)
    joined = graph.linear(x, weight, bias)
    query = graph.node("Split", [joined], outputs=3, axis=2, num_outputs=3)
    inputs = [query, f"{query}_1", f"{query}_2", "", "mask"]
    return graph.node("MultiHeadAttention", inputs, domain=_FUSED, num_heads=config.heads)


def _pool(graph: _Graph, config: BertConfig, x: str) -> None:
    import numpy as np
    from onnx import TensorProto

    if config.pooling == "cls":
        pooled = graph.node("Gather", [x, graph.constant(np.array(0))], axis=1)
    else:
        last = graph.constant(np.array([2]))
        along = graph.constant(np.array([1]))
        mask = graph.node("Cast", ["mask"], to=TensorProto.FLOAT)
        masked = graph.node("Mul", [x, graph.node("Unsqueeze", [mask, last])])
        pooled = graph.node(
            "Div",
            [
                graph.node("ReduceSum", [masked, along], keepdims=0),
                graph.node("ReduceSum", [mask, along], keepdims=1),
            ],
        )
    graph.node("LpNormalization", [pooled], axis=1, p=2)


def _serialise(graph: _Graph, config: BertConfig) -> bytes:
    from onnx import TensorProto, helper

    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT32, ["batch", "length"]) for name in ("tokens", "mask")
    ]
    vectors = helper.make_node("Identity", [graph.nodes[-1].output[0]], ["vectors"])
    outputs = [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["batch", config.hidden])]
    model = helper.make_model(
        helper.make_graph([*graph.nodes, vectors], "sentence_encoder", inputs, outputs, graph.constants),
        opset_imports=[helper.make_opsetid("", _OPSET), helper.make_opsetid(_FUSED, _FUSED_OPSET)],
        ir_version=_IR_VERSION,
        producer_name="lora-manager-backend",
        producer_version=GRAPH_VERSION,
    )
    serialised: bytes = model.SerializeToString()
    return serialised
