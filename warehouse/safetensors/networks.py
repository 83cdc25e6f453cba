"""What kind of network a file holds: its type, rank and alpha.

Belongs here: facts of the adapter itself. Does not: what it adapts (`architectures`).
"""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from warehouse.safetensors.header import Header
from warehouse.safetensors.modules import ModuleTable
from warehouse.safetensors.training import number

ReadBytes = Callable[[int, int], bytes]
"""Reads (offset in the file, count) bytes; may return fewer, never raises for a short file."""

_ALPHA_SAMPLES = 8
_SCALAR_FORMATS = {"F16": "<e", "F32": "<f", "F64": "<d", "I32": "<i", "I64": "<q"}
# The type a family of tensors stands for, most telling first.
_TYPE_OF_FAMILY = {
    "dora": "dora",
    "loha": "loha",
    "lokr": "lokr",
    "oft": "oft",
    "glora": "glora",
    "ia3": "ia3",
    "kohya": "lora",
    "peft": "peft",
    "diffusers": "diffusers",
    "full": "full",
    "norm": "full",
}


@dataclass(frozen=True, slots=True)
class Network:
    """Type, rank and alpha; `per_module_rank` maps rank → number of modules."""

    network_type: str | None
    rank: int | None
    alpha: float | None
    per_module_rank: dict[int, int]


def describe_network(
    header: Header, table: ModuleTable, metadata: Mapping[str, object], read_bytes: ReadBytes | None
) -> Network:
    """Type from the tensors, rank from their shapes, alpha from the values of alpha tensors or from metadata."""
    ranks = Counter(found for module in table.modules if (found := module.rank))
    rank: float | None = ranks.most_common(1)[0][0] if ranks else _claimed(metadata, "ss_network_dim", "r")
    alpha = _alpha_value(header, table, read_bytes)
    if alpha is None:
        alpha = _claimed(metadata, "ss_network_alpha", "lora_alpha")
    if alpha is None and ranks:
        alpha = rank  # every loader scales by 1 where no alpha is given
    return Network(
        network_type=_network_type(table) or _claimed_type(metadata),
        rank=int(rank) if rank is not None else None,
        alpha=float(alpha) if alpha is not None else None,
        per_module_rank=dict(sorted(ranks.items())),
    )


def _network_type(table: ModuleTable) -> str | None:
    for family, network_type in _TYPE_OF_FAMILY.items():
        if family in table.families:
            is_locon = network_type == "lora" and any(module.has_spatial_kernel for module in table.modules)
            return "locon" if is_locon else network_type
    return None


def _claimed_type(metadata: Mapping[str, object]) -> str | None:
    """The type that training metadata alone gives away."""
    module = str(metadata.get("ss_network_module") or "")
    arguments = metadata.get("ss_network_args")
    algorithm = str(arguments.get("algo") or "") if isinstance(arguments, Mapping) else ""
    if module.startswith("lycoris"):
        return {"lora": "locon", "locon": "locon"}.get(algorithm, algorithm) or "locon"
    if module.startswith("networks.oft"):
        return "oft"
    if module.startswith("networks.lora"):
        has_conv = isinstance(arguments, Mapping) and number(arguments.get("conv_dim"))
        return "locon" if has_conv else "lora"
    return None


def _claimed(metadata: Mapping[str, object], kohya_key: str, peft_key: str) -> float | None:
    """A figure of kohya's metadata, or of PEFT's for any component (`transformer.r`, `unet.lora_alpha`)."""
    value = number(metadata.get(kohya_key))
    if value is not None:
        return value
    adapter = metadata.get("lora_adapter_metadata")
    sources = [adapter, metadata] if isinstance(adapter, Mapping) else [metadata]
    for source in sources:
        for component in ("transformer.", "unet.", ""):
            value = number(source.get(component + peft_key))
            if value is not None:
                return value
    return None


def _alpha_value(header: Header, table: ModuleTable, read_bytes: ReadBytes | None) -> float | None:
    """The most frequent value among a few alpha tensors, spread over the file: each costs one small read."""
    if read_bytes is None or not table.alphas:
        return None
    step = -(-len(table.alphas) // _ALPHA_SAMPLES)
    values: Counter[float] = Counter()
    for name in table.alphas[::step]:
        tensor = header.tensors[name]
        begin, end = tensor.data_offsets
        if not 1 <= end - begin <= 8:
            continue
        value = _scalar(read_bytes(header.payload_offset + begin, end - begin), tensor.dtype)
        if value is not None:
            values[value] += 1
    return values.most_common(1)[0][0] if values else None


def _scalar(raw: bytes, dtype: str) -> float | None:
    if dtype == "BF16" and len(raw) == 2:
        raw, dtype = b"\x00\x00" + raw, "F32"
    form = _SCALAR_FORMATS.get(dtype)
    if form is None or struct.calcsize(form) != len(raw):
        return None
    value = float(struct.unpack(form, raw)[0])
    return round(value, 6) if -1e9 < value < 1e9 else None
