"""Tiny weight files with the tensor names and telling shapes of real networks.

Belongs here: bytes of safetensors. Does not: reading them (`warehouse.safetensors`).
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from random import Random

from warehouse.samples.records import Version
from warehouse.samples.subjects import Subject
from warehouse.samples.vocabulary import AUTHORS, CHECKPOINTS

Shapes = dict[str, tuple[int, ...]]

# Clears the highest exponent bit of every byte, so that random F16 values are finite and below 2.
_FINITE = bytes(byte & 0xBF for byte in range(256))
_HALF_BYTES = 2
_SDXL = frozenset({"SDXL 1.0", "Pony", "Illustrious", "NoobAI"})


def weight_file(random: Random, subject: Subject, version: Version) -> bytes:
    """A valid file for `version`: one or two adapted layers of real width, metadata as trainers write it."""
    rank = random.choice((4, 8, 8, 16))
    shapes = _shapes(random, version.base_model, rank)
    metadata = _metadata(random, subject, version, rank)
    alpha = struct.pack("<e", random.choice((rank, rank / 2, 1)))
    return assemble(random, shapes, metadata, alpha)


def assemble(random: Random, shapes: Shapes, metadata: Mapping[str, str], alpha: bytes) -> bytes:
    """The bytes of a file of F16 tensors with random finite values; scalars named `.alpha` hold `alpha`."""
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    payload = bytearray()
    for name, shape in sorted(shapes.items()):
        begin = len(payload)
        size = math.prod(shape) * _HALF_BYTES
        payload += alpha if name.endswith(".alpha") else random.randbytes(size).translate(_FINITE)
        header[name] = {"dtype": "F16", "shape": list(shape), "data_offsets": [begin, len(payload)]}
    return with_header(header, bytes(payload))


def with_header(header: Mapping[str, object], payload: bytes) -> bytes:
    """Length, header padded to eight bytes, payload."""
    raw = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    raw += b" " * (-len(raw) % 8)
    return struct.pack("<Q", len(raw)) + raw + payload


def retitled(content: bytes, title: str) -> bytes:
    """The same weights under a header with another title."""
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["__metadata__"] = {**header.get("__metadata__", {}), "modelspec.title": title}
    return with_header(header, content[8 + length :])


def _shapes(random: Random, base_model: str, rank: int) -> Shapes:
    if base_model == "Flux.1 D":
        layer, inputs, outputs = "single_transformer_blocks.{}.attn.to_k", 3072, 3072
        return _peft(f"transformer.{layer.format(random.randrange(38))}", inputs, outputs, rank)
    if base_model in _SDXL:
        layer, inputs, outputs = "input_blocks_4_1_transformer_blocks_{}_attn2_to_k", 2048, 640
        layer = layer.format(random.randrange(2))
    else:
        inputs = 1024 if base_model.startswith("SD 2") else 768
        layer, outputs = f"down_blocks_{random.randrange(1, 3)}_attentions_0_transformer_blocks_0_attn2_to_k", 640
    match random.choices(("kohya", "locon", "diffusers", "loha"), (70, 14, 10, 6))[0]:
        case "locon":
            conv = "lora_unet_down_blocks_0_resnets_0_conv1"
            thin = {f"{conv}.lora_down.weight": (rank, 8, 3, 3), f"{conv}.lora_up.weight": (8, rank, 1, 1)}
            return _kohya(f"lora_unet_{layer}", inputs, outputs, rank) | thin
        case "diffusers" if base_model not in _SDXL:
            path = "unet.down_blocks.1.attentions.0.transformer_blocks.0.attn2.processor.to_k_lora"
            return {f"{path}.down.weight": (rank, inputs), f"{path}.up.weight": (outputs, rank)}
        case "loha":
            path = f"lora_unet_{layer}"
            pairs = {f"{path}.hada_w{number}_a": (outputs, 4) for number in (1, 2)}
            return pairs | {f"{path}.hada_w{number}_b": (4, inputs) for number in (1, 2)} | {f"{path}.alpha": ()}
        case _:
            return _kohya(f"lora_unet_{layer}", inputs, outputs, rank)


def _kohya(path: str, inputs: int, outputs: int, rank: int) -> Shapes:
    return {f"{path}.lora_down.weight": (rank, inputs), f"{path}.lora_up.weight": (outputs, rank), f"{path}.alpha": ()}


def _peft(path: str, inputs: int, outputs: int, rank: int) -> Shapes:
    return {f"{path}.lora_A.weight": (rank, inputs), f"{path}.lora_B.weight": (outputs, rank)}


def _metadata(random: Random, subject: Subject, version: Version, rank: int) -> dict[str, str]:
    """What the trainer embedded: kohya's keys mostly, ai-toolkit's for Flux, nothing at times."""
    if random.random() < 0.12:
        return {"format": "pt"}
    if version.base_model == "Flux.1 D":
        return {
            "name": subject.stem,
            "version": "1.0",
            "software": json.dumps(
                {"name": "ai-toolkit", "repo": "https://github.com/ostris/ai-toolkit", "version": "0.7.6"}
            ),
            "training_info": json.dumps({"step": random.randrange(1000, 4000, 250), "epoch": random.randint(4, 20)}),
        }
    images = random.randint(18, 120)
    tags = [subject.trigger, *subject.essence, *subject.theme.colours, *subject.theme.things]
    return {
        "ss_base_model_version": _kohya_version(version.base_model),
        "ss_sd_model_name": f"{random.choice(CHECKPOINTS[version.base_model])}.safetensors",
        "ss_network_module": "networks.lora",
        "ss_network_dim": str(rank),
        "ss_network_alpha": str(float(rank)),
        "ss_output_name": subject.stem,
        "ss_num_train_images": str(images * 10),
        "ss_num_epochs": "10",
        "ss_epoch": "10",
        "ss_steps": str(images * 50),
        "ss_learning_rate": "0.0001",
        "ss_clip_skip": random.choice(("2", "None")),
        "ss_resolution": "(1024, 1024)" if version.base_model in _SDXL else "(512, 512)",
        "ss_training_started_at": "1735689600.0",
        "ss_training_finished_at": str(1735689600.0 + images * 60),
        "ss_dataset_dirs": json.dumps({f"10_{subject.trigger}": {"n_repeats": 10, "img_count": images}}),
        "ss_tag_frequency": json.dumps({f"10_{subject.trigger}": {tag: random.randint(1, images) for tag in tags}}),
        "modelspec.title": subject.name,
        "modelspec.author": random.choice(AUTHORS),
    }


def _kohya_version(base_model: str) -> str:
    if base_model in _SDXL:
        return "sdxl_base_v1-0"
    return "sd_v2" if base_model.startswith("SD 2") else "sd_v1"
