"""Network types, ranks, alphas and base models from names, shapes and metadata; trainers' metadata as typed values."""

import json
import struct
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from warehouse.safetensors import Header, HeaderFacts, Tensor, describe_header, describe_metadata

Layer = tuple[str, int, int]


def header_of(shapes: dict[str, tuple[int, ...]], metadata: dict[str, str] | None = None, dtype: str = "F16") -> Header:
    tensors = {name: Tensor(dtype, shape, (0, 2)) for name, shape in shapes.items()}
    return Header(Path("x.safetensors"), 100, 0, 8, tensors, metadata or {})


def kohya(layers: Iterable[Layer], rank: int = 8) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for name, inputs, outputs in layers:
        shapes[f"{name}.lora_down.weight"] = (rank, inputs)
        shapes[f"{name}.lora_up.weight"] = (outputs, rank)
        shapes[f"{name}.alpha"] = ()
    return shapes


def peft(layers: Iterable[Layer], rank: int = 8) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for name, inputs, outputs in layers:
        shapes[f"{name}.lora_A.weight"] = (rank, inputs)
        shapes[f"{name}.lora_B.weight"] = (outputs, rank)
    return shapes


def facts(shapes: dict[str, tuple[int, ...]], metadata: dict[str, str] | None = None) -> HeaderFacts:
    return describe_header(header_of(shapes, metadata))


UNET = "lora_unet_down_blocks_1_attentions_0_transformer_blocks_0_attn2_to_k"
FLUX = [("lora_unet_double_blocks_18_img_attn_qkv", 3072, 9216), ("lora_unet_single_blocks_37_linear1", 3072, 21504)]

ARCHITECTURES: list[tuple[str, dict[str, tuple[int, ...]], str]] = [
    ("SD 1 kohya", kohya([(UNET, 768, 640)]), "SD 1.5"),
    ("SD 2 kohya", kohya([(UNET, 1024, 640)]), "SD 2.1"),
    ("SDXL kohya", kohya([("lora_unet_input_blocks_4_1_transformer_blocks_1_attn2_to_v", 2048, 640)]), "SDXL 1.0"),
    (
        "SDXL without cross-attention",
        kohya([("lora_unet_middle_block_1_transformer_blocks_9_attn1_to_q", 1280, 1280)]),
        "SDXL 1.0",
    ),
    (
        "SDXL text encoders",
        kohya(
            [
                ("lora_te1_text_model_encoder_layers_0_mlp_fc1", 768, 3072),
                ("lora_te2_text_model_encoder_layers_0_mlp_fc1", 1280, 5120),
            ]
        ),
        "SDXL 1.0",
    ),
    ("SD 1 text encoder", kohya([("lora_te_text_model_encoder_layers_0_self_attn_q_proj", 768, 768)]), "SD 1.5"),
    (
        "SD 1 diffusers",
        {"unet.mid_block.attentions.0.transformer_blocks.0.attn2.processor.to_k_lora.down.weight": (4, 768)},
        "SD 1.5",
    ),
    ("SDXL PEFT", peft([("unet.mid_block.attentions.0.transformer_blocks.0.attn2.to_k", 2048, 1280)]), "SDXL 1.0"),
    ("SD 3 kohya", kohya([("lora_unet_joint_blocks_0_x_block_attn_qkv", 1536, 4608)]), "SD 3"),
    (
        "SD 3.5 Large",
        peft(
            [
                ("transformer.transformer_blocks.37.attn.to_q", 2432, 2432),
                ("transformer.transformer_blocks.37.attn.add_q_proj", 2432, 2432),
            ]
        ),
        "SD 3.5 Large",
    ),
    (
        "SD 3.5 Medium",
        peft(
            [
                ("transformer.transformer_blocks.0.attn2.to_q", 1536, 1536),
                ("transformer.transformer_blocks.0.attn.to_q", 1536, 1536),
                ("transformer.transformer_blocks.0.attn.add_k_proj", 1536, 1536),
            ]
        ),
        "SD 3.5 Medium",
    ),
    ("Flux kohya", kohya(FLUX), "Flux.1 D"),
    ("Flux ai-toolkit", peft([("diffusion_model.single_blocks.37.linear1", 3072, 21504)]), "Flux.1 D"),
    ("Flux OneTrainer", kohya([("lora_transformer_single_transformer_blocks_0_attn_to_q", 3072, 3072)]), "Flux.1 D"),
    (
        "Flux LoKr",
        {"lycoris_single_blocks_0_linear1.lokr_w1": (16, 16), "lycoris_single_blocks_0_linear1.lokr_w2": (1344, 192)},
        "Flux.1 D",
    ),
    ("Chroma", kohya([*FLUX, ("lora_unet_distilled_guidance_layer_layers_0_in_layer", 5120, 5120)]), "Chroma"),
    ("Flux.2", kohya([("lora_unet_double_blocks_7_img_attn_qkv", 6144, 18432)]), "Flux.2 D"),
    ("Flux.2 Klein 4B", kohya([("lora_unet_single_blocks_19_linear1", 3072, 27648)]), "Flux.2 Klein 4B"),
    (
        "Flux.2 diffusers",
        peft([("transformer.single_transformer_blocks.0.attn.to_qkv_mlp_proj", 4096, 36864)]),
        "Flux.2 Klein 9B",
    ),
    (
        "Hunyuan Video",
        kohya(
            [
                ("lora_unet_double_blocks_0_img_attn_qkv", 3072, 9216),
                ("lora_unet_double_blocks_0_img_mlp_fc1", 3072, 12288),
            ]
        ),
        "Hunyuan Video",
    ),
    (
        "Hunyuan Video by depth",
        peft([("transformer.single_transformer_blocks.39.attn.to_q", 3072, 3072)]),
        "Hunyuan Video",
    ),
    (
        "Qwen",
        peft(
            [
                ("diffusion_model.transformer_blocks.59.attn.to_q", 3072, 3072),
                ("diffusion_model.transformer_blocks.0.img_mlp.net.0.proj", 3072, 12288),
            ]
        ),
        "Qwen",
    ),
    ("Qwen by depth", peft([("transformer_blocks.59.attn.add_q_proj", 3072, 3072)]), "Qwen"),
    ("Wan 1.3B", kohya([("lora_unet_blocks_29_self_attn_q", 1536, 1536)]), "Wan Video 1.3B t2v"),
    ("Wan 5B", peft([("diffusion_model.blocks.0.ffn.0", 3072, 14336)]), "Wan Video 2.2 TI2V-5B"),
    ("Wan 14B", peft([("diffusion_model.blocks.0.self_attn.q", 5120, 5120)]), "Wan Video 14B t2v"),
    (
        "Wan 14B image",
        peft(
            [
                ("diffusion_model.blocks.0.self_attn.q", 5120, 5120),
                ("diffusion_model.blocks.0.cross_attn.k_img", 5120, 5120),
            ]
        ),
        "Wan Video 14B i2v 480p",
    ),
    ("Lumina", peft([("diffusion_model.layers.0.attention.qkv", 2304, 3840)]), "Lumina"),
    ("Z-Image", peft([("diffusion_model.layers.0.attention.to_q", 3840, 3840)]), "ZImageTurbo"),
    ("LTX", peft([("transformer.transformer_blocks.0.attn1.to_q", 2048, 2048)]), "LTXV"),
    ("LTX 2", peft([("diffusion_model.transformer_blocks.0.audio_attn1.to_q", 2048, 2048)]), "LTXV2"),
    ("PixArt", peft([("transformer.transformer_blocks.0.attn1.to_q", 1152, 1152)]), "PixArt a"),
    ("CogVideoX", peft([("transformer.transformer_blocks.0.attn1.to_q", 3072, 3072)]), "CogVideoX"),
    ("HiDream", peft([("diffusion_model.double_stream_blocks.0.block.attn1.to_q", 2560, 2560)]), "HiDream"),
    ("AuraFlow", peft([("transformer.joint_transformer_blocks.0.attn.to_q", 3072, 3072)]), "AuraFlow"),
    ("Cascade", kohya([("lora_prior_unet_down_blocks_0_1_block", 2048, 2048)]), "Stable Cascade"),
    ("Mochi", peft([("blocks.0.attn.qkv_x", 3072, 9216)]), "Mochi"),
    ("Anima", peft([("diffusion_model.blocks.0.self_attn.q_proj", 2048, 2048)]), "Anima"),
]


@pytest.mark.parametrize(("shapes", "base_model"), [a[1:] for a in ARCHITECTURES], ids=[a[0] for a in ARCHITECTURES])
def test_the_base_model_shows_in_names_and_shapes(shapes: dict[str, tuple[int, ...]], base_model: str) -> None:
    found = facts(shapes)
    assert found.base_model == base_model
    assert found.base_model_confidence is not None
    assert 0.3 < found.base_model_confidence < 1
    assert found.base_model_evidence


def test_nothing_known_gives_no_base_model() -> None:
    assert facts({"embedding": (10, 10)}).base_model is None
    assert facts(kohya([("lora_unet_blocks_0_self_attn_q", 77, 77)])).base_model is None


SDXL = kohya([("lora_unet_input_blocks_4_1_transformer_blocks_1_attn2_to_v", 2048, 640)])


@pytest.mark.parametrize(
    ("checkpoint", "base_model"),
    [
        ("ponyDiffusionV6XL_v6.safetensors", "Pony"),
        ("Illustrious-XL-v0.1.safetensors", "Illustrious"),
        ("noobaiXLNAIXL_vPred10.safetensors", "NoobAI"),
        ("sd_xl_base_1.0.safetensors", "SDXL 1.0"),
        ("128078.safetensors", "SDXL 1.0"),
        ("v1-5-pruned.ckpt", "SDXL 1.0"),  # a hint cannot contradict the structure
    ],
)
def test_the_training_checkpoint_chooses_within_a_family(checkpoint: str, base_model: str) -> None:
    found = facts(SDXL, {"ss_sd_model_name": checkpoint, "ss_base_model_version": "sdxl_base_v1-0"})
    assert found.base_model == base_model
    hinted = base_model != "SDXL 1.0" or checkpoint.startswith("sd_xl")
    assert (found.base_model_confidence or 0) >= (0.8 if hinted else 0.5)


def test_metadata_that_contradicts_the_structure_lowers_the_confidence_and_is_named() -> None:
    plain = facts(kohya([(UNET, 768, 640)]))
    contradicted = facts(kohya([(UNET, 768, 640)]), {"modelspec.architecture": "stable-diffusion-xl-v1-base/lora"})
    assert contradicted.base_model == "SD 1.5"
    assert (contradicted.base_model_confidence or 1) < (plain.base_model_confidence or 0)
    assert "stable-diffusion-xl" in (contradicted.base_model_evidence or "")


@pytest.mark.parametrize(
    ("version", "base_model"),
    [
        ("sd_v1", "SD 1.5"),
        ("sdxl_base_v1-0", "SDXL 1.0"),
        ("sd_v2_768_v", "SD 2.1 768"),
        ("sd3m", "SD 3"),
        ("flux1", "Flux.1 D"),
        ("zimage", "ZImageTurbo"),
        ("qwen_image", "Qwen"),
        ("wan2.1-t2v-1.3B", "Wan Video 1.3B t2v"),
        ("wan2.2_14b:i2v", "Wan Video 2.2 I2V-A14B"),
    ],
)
def test_metadata_alone_names_the_base_model(version: str, base_model: str) -> None:
    assert describe_metadata({"ss_base_model_version": version}).base_model == base_model


@pytest.mark.parametrize(
    ("shapes", "network_type", "rank"),
    [
        (kohya([(UNET, 768, 640)], 16), "lora", 16),
        ({"lora_unet_x.lora_down.weight": (4, 320, 3, 3), "lora_unet_x.lora_up.weight": (320, 4, 1, 1)}, "locon", 4),
        ({"lora_unet_x.lora_down.weight": (4, 320, 1, 1), "lora_unet_x.lora_up.weight": (320, 4, 1, 1)}, "lora", 4),
        (peft([("transformer.x", 64, 64)], 32), "peft", 32),
        ({"unet.x.lora_A.default.weight": (2, 64), "unet.x.lora_B.default.weight": (64, 2)}, "peft", 2),
        ({"unet.x.lora.down.weight": (4, 64), "unet.x.lora.up.weight": (64, 4)}, "diffusers", 4),
        ({"x.processor.to_q_lora.down.weight": (4, 64), "x.processor.to_q_lora.up.weight": (64, 4)}, "diffusers", 4),
        ({"unet:3:down": (1, 320), "unet:3:up": (320, 1)}, "diffusers", 1),
        ({"lora_unet_x.hada_w1_a": (64, 8), "lora_unet_x.hada_w1_b": (8, 64)}, "loha", 8),
        (
            {"lora_unet_x.lokr_w1": (4, 4), "lora_unet_x.lokr_w2_a": (80, 6), "lora_unet_x.lokr_w2_b": (6, 80)},
            "lokr",
            6,
        ),
        ({"lora_unet_x.oft_blocks": (4, 80, 80)}, "oft", None),
        ({"lora_unet_x.a1.weight": (4, 64), "lora_unet_x.b1.weight": (4, 64)}, "glora", 4),
        ({"lora_unet_x.on_input": (), "lora_unet_x.weight": (64,)}, "ia3", None),
        ({"lora_unet_x.diff": (64, 64), "lora_unet_x.diff_b": (64,)}, "full", None),
        ({**kohya([(UNET, 768, 640)], 16), f"{UNET}.dora_scale": (640, 1)}, "dora", 16),
        ({"model.diffusion_model.out.0.weight": (320,)}, None, None),
    ],
)
def test_network_type_and_rank(shapes: dict[str, tuple[int, ...]], network_type: str | None, rank: int | None) -> None:
    found = facts(shapes)
    assert (found.network_type, found.rank) == (network_type, rank)


def test_rank_and_alpha_are_the_most_frequent_ones() -> None:
    shapes = kohya([(f"lora_unet_x{i}", 64, 64) for i in range(5)], 32) | kohya([("lora_unet_y", 64, 64)], 4)
    found = describe_header(header_of(shapes), read_bytes=lambda offset, count: struct.pack("<e", 16.0))
    assert (found.rank, found.alpha, found.per_module_rank) == (32, 16.0, {4: 1, 32: 5})


@pytest.mark.parametrize(
    ("dtype", "raw"),
    [("F32", struct.pack("<f", 4.0)), ("BF16", struct.pack("<f", 4.0)[2:]), ("I64", struct.pack("<q", 4))],
)
def test_alpha_is_read_in_any_scalar_dtype(dtype: str, raw: bytes) -> None:
    tensor = Tensor(dtype, (), (0, len(raw)))
    header = Header(Path("x"), 100, 0, 8, {"lora_unet_x.alpha": tensor}, {})
    assert describe_header(header, read_bytes=lambda offset, count: raw).alpha == 4.0


def test_alpha_falls_back_to_metadata_then_to_the_rank() -> None:
    shapes = peft([("transformer.x", 64, 64)], 16)
    assert facts(shapes, {"transformer.lora_alpha": "8", "transformer.r": "16"}).alpha == 8.0
    nested = {"lora_adapter_metadata": json.dumps({"transformer.lora_alpha": 4, "transformer.r": 16})}
    assert facts(shapes, nested).alpha == 4.0
    assert facts(shapes).alpha == 16.0


def test_tags_are_summed_over_all_datasets() -> None:
    frequency = {
        "10_hero": {"hero": 20, " 1girl ": 3, "": 9},
        "5_extra": {"hero": 2, "cape": 4, "bad": "x", "absurd": 10**40},
        "odd": 7,
    }
    found = describe_metadata({"ss_tag_frequency": json.dumps(frequency)})
    assert found.training_tags == {"hero": 22, "cape": 4, "1girl": 3}
    assert not found.is_captions


def test_sentences_are_captions_and_only_200_tags_stay() -> None:
    frequency = {"1": {f"a photo of a lighthouse number {i}": 300 - i for i in range(300)}}
    found = describe_metadata({"ss_tag_frequency": json.dumps(frequency)})
    assert found.is_captions
    assert len(found.training_tags) == 200
    assert next(iter(found.training_tags)) == "a photo of a lighthouse number 0"


def test_training_values_are_typed_and_absent_ones_absent() -> None:
    found = describe_metadata(
        {
            "ss_epoch": "12",
            "ss_learning_rate": "5e-05",
            "ss_clip_skip": "None",
            "ss_network_dim": "Dynamic",
            "ss_v2": "False",
            "ss_training_started_at": "1700000000.5",
            "ss_training_finished_at": "1700003600.5",
            "ss_dataset_dirs": json.dumps({"5_a": {"n_repeats": 5, "img_count": 20}, "1_b": {"img_count": 4}}),
            "sshs_model_hash": "0xE3B0C44298FC1C149AFBF4C8996FB92427AE41E4649B934CA495991B7852B855",
            "modelspec.hash_sha256": "0x" + "AB" * 32,
            "ss_resolution": "(512, 768)",
            "ss_training_comment": "None",
            "modelspec.title": "  Harbour Lights ",
            "modelspec.tags": "boats, night ,, boats",
            "modelspec.thumbnail": "data:image/webp;base64,AAAA",
        }
    )
    assert found.training["epoch"] == 12
    assert found.training["learning_rate"] == 5e-05
    assert "clip_skip" not in found.training
    assert "network_dim" not in found.training
    assert found.training["started_at"] == "2023-11-14T22:13:20Z"
    assert found.training["seconds"] == 3600
    assert found.training["images"] == 24
    assert "claimed_payload_sha256" not in found.training
    assert found.training["claimed_modelspec_sha256"] == "ab" * 32
    assert (found.title, found.description, found.resolution) == ("Harbour Lights", None, "512x768")
    assert found.modelspec_tags == ["boats", "night"]
    assert found.thumbnail_mime == "image/webp"
    assert "modelspec.thumbnail" not in found.metadata


def test_metadata_is_kept_within_bounds_and_storable() -> None:
    found = describe_metadata({"long": "x" * 100_000, "nul": "a\0b\ud800c", **{f"k{i}": "v" for i in range(1000)}})
    assert len(found.metadata["long"]) == 16_384
    assert found.metadata["nul"] == "abc"
    assert len(found.metadata) == 500


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
known_keys = st.sampled_from(
    [
        "ss_tag_frequency",
        "ss_dataset_dirs",
        "ss_datasets",
        "ss_network_args",
        "ss_network_dim",
        "ss_resolution",
        "ss_v2",
        "training_info",
        "software",
        "creator",
        "modelspec.tags",
        "ss_training_started_at",
        "lora_adapter_metadata",
        "modelspec.thumbnail",
        "sshs_model_hash",
        "modelspec.architecture",
        "ss_seed",
    ]
)


@settings(max_examples=300, deadline=None)
@example(metadata={"ss_network_args": {"dropout": float("inf"), "conv_dim": 4}})
@given(metadata=st.dictionaries(known_keys, json_values | json_values.map(json.dumps), max_size=6))
def test_no_metadata_raises(metadata: dict[str, object]) -> None:
    found = describe_metadata(metadata)
    json.dumps(found.training, allow_nan=False)


part = st.sampled_from(
    [
        "lora_unet_",
        "transformer.",
        "blocks.0.",
        "attn2.to_k",
        ".lora_down",
        ".lora_A",
        ".weight",
        ".alpha",
        ":1:down",
        ".",
        "lokr_w1",
        ".hada_w1_b",
        ".diff",
        "double_blocks_",
        "9999999999_",
        "layers.1.attention.qkv",
    ]
)


@settings(max_examples=300, deadline=None)
@given(
    shapes=st.dictionaries(st.lists(part, max_size=5).map("".join), st.lists(st.integers(0, 9), max_size=5).map(tuple))
)
def test_no_names_or_shapes_raise(shapes: dict[str, tuple[int, ...]]) -> None:
    describe_header(header_of(shapes), read_bytes=lambda offset, count: b"")


def test_real_headers_without_their_weights(corpus: Path) -> None:
    expected = {"peft_adapter_model": ("Flux.1 D", "peft", 4), "shinkai_makoto_offset": ("SD 1.5", "lora", 128)}
    for stem, answer in expected.items():
        document = json.loads((corpus / "stripped_safetensors_keys" / f"{stem}.stripped.json").read_text())
        document.pop("metadata_key_for_stripped_models", None)
        found = facts({name: tuple(entry["shape"]) for name, entry in document.items()})
        assert (found.base_model, found.network_type, found.rank) == answer


def test_real_training_metadata(corpus: Path) -> None:
    found = {
        path.name.removesuffix(".ss.json"): describe_metadata(json.loads(path.read_text()))
        for path in (corpus / "ss_metadata").glob("*.json")
    }
    assert found["Samaritan 3d Cartoon SDXL"].base_model == "SDXL 1.0"
    assert found["WireTechXL"].resolution == "1024x1024"
    assert found["ZiTD3tailed4nime"].base_model == "ZImageTurbo"
    assert found["ZiTD3tailed4nime"].training["software"] == "ai-toolkit"
    assert found["PERONA"].network_type == "locon"
    assert found["WomanBusinessSuit"].training_tags["business_suit"] == 60
    assert found["WomanBusinessSuit"].training["images"] == 174
    assert found["WeightSlider"].author == "Ostris - Jaret Burkett"
    assert found["animecoloring"].rank is None
    assert all(
        facts.base_model == "SD 1.5"
        for name, facts in found.items()
        if facts.training.get("is_v2") is False and "XL" not in name
    )
