"""The encoders against the model's own loading code, on the real weights; and what they say when they cannot."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.adapters_of_documents import described_adapters
from warehouse.settings import MINILM, Settings
from warehouse.vectors.devices import Device, choose_device, detect_devices, torch_build
from warehouse.vectors.encoders import Encoder, EncoderError, model_version, open_encoder, shared_encoder
from warehouse.vectors.encoders.batching import length_batches, unique_texts
from warehouse.vectors.encoders.torch_encoder import TorchEncoder
from warehouse.vectors.encoders.weights import MINILM_SHA256, find_model, known_sha256
from warehouse.vectors.spaces import SPACES

TEXTS = [
    "",
    "   ",
    "Watercolor landscape. style, watercolor. Loose washes of hills and rivers.",
    "水墨画风格，山水与竹子",
    "かわいい猫のイラスト 🐈‍⬛✨",
    "Кот в сапогах",
    "a" * 5000,
    "word " * 900,
    "Ünïcödé naïve café ﬁ ½",
    "x\x00y\u200bz",
    "equal text",
    "equal text",
]


@pytest.fixture(scope="module")
def models(shared_data: Path) -> Path:
    return shared_data


def _settings(data: Path, **values: object) -> Settings:
    return Settings(_env_file=None, data_dir=data, device="cpu", **values)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def fp32(models: Path) -> Encoder:
    return open_encoder(_settings(models, embedding_precision="fp32"), MINILM)


@pytest.fixture(scope="module")
def reference() -> TorchEncoder:
    return TorchEncoder(find_model(MINILM, offline=True), Device("cpu", "CPU"))


def test_weights_are_those_that_were_published() -> None:
    model = find_model(MINILM, offline=True)
    assert known_sha256(model.path / "model.safetensors") == MINILM_SHA256
    assert find_model(f"sentence-transformers/{MINILM}", offline=True).digest == model.digest


def test_onnx_agrees_with_sentence_transformers(fp32: Encoder, reference: TorchEncoder) -> None:
    vectors, expected = fp32.encode(TEXTS), reference.encode(TEXTS)
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(TEXTS), 384)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert (vectors * expected).sum(axis=1).min() > 0.9999
    assert fp32.identity.version == reference.identity.version


def test_onnx_agrees_on_real_texts(fp32: Encoder, reference: TorchEncoder, corpus: Path) -> None:
    adapters = list(described_adapters(corpus / "api_model", limit=1000))[::25]
    texts = [space.text(item.facts) for item in adapters for space in SPACES]
    assert len(texts) > 90
    assert (fp32.encode(texts) * reference.encode(texts)).sum(axis=1).min() > 0.9999


def test_int8_is_near_and_independent_of_its_neighbours(models: Path, fp32: Encoder) -> None:
    int8 = open_encoder(_settings(models, embedding_precision="int8"), MINILM)
    vectors = int8.encode(TEXTS)
    assert (vectors * fp32.encode(TEXTS)).sum(axis=1).min() > 0.95
    assert np.array_equal(int8.encode(TEXTS[3:4]), vectors[3:4])
    assert int8.identity.version != fp32.identity.version
    assert model_version(_settings(models, embedding_precision="int8"), MINILM) == int8.identity.version


def test_progress_ends_with_the_number_of_distinct_texts(fp32: Encoder) -> None:
    seen: list[tuple[int, int]] = []
    fp32.encode(["a", "b", "b", "c"], progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (3, 3)
    assert fp32.encode([]).shape == (0, 384)


def test_lone_surrogates_are_encoded_like_replacement_characters(fp32: Encoder, reference: TorchEncoder) -> None:
    assert (fp32.encode(["fox \ud800"]) * fp32.encode(["fox ?"])).sum() > 0.99
    assert (reference.encode(["fox \ud800"]) * fp32.encode(["fox \ud800"])).sum() > 0.999


def test_querying_imports_no_torch(models: Path, fp32: Encoder) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom warehouse.settings import Settings\n"
        "from warehouse.vectors.encoders import open_encoder\n"
        f"settings = Settings(_env_file=None, data_dir=Path({str(models)!r}), device='cpu')\n"
        f"open_encoder(settings, {MINILM!r}).encode(['fox'])\n"
        "print([name for name in ('torch', 'transformers', 'sentence_transformers', 'onnx') if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_a_damaged_export_is_made_again(tmp_path: Path, fp32: Encoder) -> None:
    settings = _settings(tmp_path, embedding_precision="fp32")
    expected = open_encoder(settings, MINILM).encode(["fox"])
    (graph,) = settings.models_dir.rglob("model.onnx")
    graph.write_bytes(graph.read_bytes()[:1000])
    assert np.allclose(open_encoder(settings, MINILM).encode(["fox"]), expected, atol=1e-6)
    assert [path.name for path in settings.models_dir.iterdir() if path.name.startswith(".")] == []


def test_a_folder_is_a_model_and_its_damage_is_named(tmp_path: Path, fp32: Encoder) -> None:
    folder = tmp_path / "mine"
    shutil.copytree(find_model(MINILM, offline=True).path, folder)
    encoder = open_encoder(_settings(tmp_path), str(folder))
    assert np.allclose(encoder.encode(["fox"]), fp32.encode(["fox"]), atol=1e-6)
    with (folder / "model.safetensors").open("r+b") as file:
        file.truncate(5_000_000)
    with pytest.raises(EncoderError, match=r"model\.safetensors"):
        open_encoder(_settings(tmp_path), str(folder))


def test_a_model_that_the_graph_cannot_express_runs_on_torch(tmp_path: Path, reference: TorchEncoder) -> None:
    folder = tmp_path / "pooled"
    shutil.copytree(find_model(MINILM, offline=True).path, folder)
    pooling = folder / "1_Pooling" / "config.json"
    settings = json.loads(pooling.read_text())
    settings["pooling_mode_mean_tokens"], settings["pooling_mode_max_tokens"] = False, True
    pooling.write_text(json.dumps(settings))
    encoder = open_encoder(_settings(tmp_path), str(folder))
    assert encoder.identity.backend == "torch"
    assert encoder.identity.digest != reference.identity.digest
    with pytest.raises(EncoderError, match="int8"):
        open_encoder(_settings(tmp_path, embedding_precision="int8"), str(folder))


def test_a_model_that_is_not_there_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match="LORA_MANAGER_OFFLINE"):
        open_encoder(_settings(tmp_path), "all-mpnet-base-v2")
    with pytest.raises(EncoderError, match="no weights"):
        open_encoder(_settings(tmp_path), str(tmp_path))


def test_devices_end_with_the_cpu_and_an_absent_one_is_refused() -> None:
    devices = detect_devices()
    assert devices[-1].kind == "cpu"
    assert devices[-1].memory_bytes
    build = torch_build()
    assert build is not None
    import torch

    assert (build.cuda, build.hip) == (torch.version.cuda, torch.version.hip)
    if not any(device.kind == "mps" for device in devices):
        with pytest.raises(LookupError, match="LORA_MANAGER_DEVICE"):
            choose_device("mps")


def test_batches_hold_every_text_once_within_the_budget() -> None:
    lengths = [3, 200, 7, 7, 1, 90, 256, 300]
    batches = list(length_batches(lengths, token_budget=256))
    assert sorted(position for batch in batches for position in batch) == list(range(len(lengths)))
    assert all(len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= 256 for batch in batches)
    assert unique_texts(["b", "a", "b"]) == (["b", "a"], [0, 1, 0])


def test_data_folders_that_share_their_models_share_an_encoder(tmp_path: Path, models: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "other"]
    for folder in folders:
        folder.mkdir()
        # Ninety megabytes for each process and folder, otherwise.
        (folder / "models").symlink_to(models / "models", target_is_directory=True)
    one, other = (shared_encoder(_settings(folder), MINILM) for folder in folders)
    assert one is other
