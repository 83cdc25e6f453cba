"""A whole file judged: states, facts of broken files, hashes of everything readable, real weights."""

import pickle
from pathlib import Path

import pytest
from safetensors import safe_open

from tests.warehouse.safetensors.files import encode, write
from warehouse.safetensors import HashingStoppedError, HeaderProblem, InspectionState, inspect_file, read_header

LORA = {
    "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k.lora_down.weight": ("F16", (4, 768)),
    "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k.lora_up.weight": ("F16", (1280, 4)),
}


def test_a_sound_file_is_valid_with_facts_and_hashes(tmp_path: Path) -> None:
    path = write(tmp_path / "x.safetensors", LORA, {"ss_output_name": "x"})
    inspection = inspect_file(path)
    assert (inspection.valid, inspection.problem, inspection.message) == (True, None, None)
    assert inspection.facts is not None
    assert (inspection.facts.base_model, inspection.facts.rank, inspection.facts.title) == ("SD 1.5", 4, "x")
    assert inspection.hashes is not None
    assert inspection.hashes.payload_sha256 is not None


def test_equal_weights_under_another_header_share_the_payload_hash(tmp_path: Path) -> None:
    first = inspect_file(write(tmp_path / "a.safetensors", LORA, {"title": "a"})).hashes
    second = inspect_file(write(tmp_path / "b.safetensors", LORA, {"title": "another"})).hashes
    assert first is not None
    assert second is not None
    assert first.sha256 != second.sha256
    assert first.payload_sha256 == second.payload_sha256


def test_a_truncated_file_is_invalid_but_described_and_hashed(tmp_path: Path) -> None:
    path = write(tmp_path / "x.safetensors", LORA)
    path.write_bytes(path.read_bytes()[:-100])
    inspection = inspect_file(path)
    assert inspection.state is InspectionState.invalid
    assert inspection.problem is HeaderProblem.truncated_data
    assert inspection.facts is not None
    assert inspection.facts.base_model == "SD 1.5"
    assert inspection.hashes is not None


def test_pickles_are_recognised_never_loaded_but_hashed(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[object, ...]:
            return Path.touch, (tmp_path / "exploded",)

    for protocol in (2, 4, 5):
        path = tmp_path / f"x{protocol}.pt"
        path.write_bytes(pickle.dumps({"weights": Bomb()}, protocol=protocol))
        inspection = inspect_file(path)
        assert inspection.state is InspectionState.not_inspected
        assert inspection.problem is HeaderProblem.pickle
        assert inspection.hashes is not None
        assert inspection.hashes.payload_sha256 is None
    assert not (tmp_path / "exploded").exists()


def test_safetensors_under_another_suffix_are_read_as_what_they_are(tmp_path: Path) -> None:
    assert inspect_file(write(tmp_path / "x.ckpt", LORA)).valid


def test_only_the_header_is_read_when_hashes_are_not_asked_for(tmp_path: Path) -> None:
    inspection = inspect_file(write(tmp_path / "x.safetensors", LORA), hashes=False)
    assert inspection.valid
    assert inspection.hashes is None


def test_a_vanished_file_is_an_answer_not_an_exception(tmp_path: Path) -> None:
    inspection = inspect_file(tmp_path / "absent.safetensors")
    assert (inspection.state, inspection.problem) == (InspectionState.invalid, HeaderProblem.vanished)
    assert inspection.message is not None
    assert "absent.safetensors" in inspection.message
    assert inspection.hashes is None


def test_a_stop_passes_through(tmp_path: Path) -> None:
    with pytest.raises(HashingStoppedError):
        inspect_file(write(tmp_path / "x.safetensors", LORA), should_stop=lambda: True)


def test_alpha_of_a_truncated_file_falls_back_to_the_metadata(tmp_path: Path) -> None:
    header = {
        "__metadata__": {"ss_network_alpha": "8", "ss_network_dim": "16"},
        "lora_unet_x.alpha": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]},
    }
    path = tmp_path / "x.safetensors"
    path.write_bytes(encode(header))
    facts = inspect_file(path).facts
    assert facts is not None
    assert (facts.alpha, facts.rank) == (8.0, 16)


def test_real_weights_agree_with_the_reference(corpus: Path) -> None:
    files = sorted((corpus / "safetensors").glob("*.safetensors"))
    assert files
    for path in files:
        inspection = inspect_file(path)
        assert inspection.valid, inspection.message
        assert inspection.facts is not None
        assert inspection.facts.base_model == "SD 1.5"
        header = read_header(path)
        with safe_open(path, "np") as reference:
            assert set(reference.keys()) == set(header.tensors)
            assert (reference.metadata() or {}) == header.metadata
            for name, tensor in header.tensors.items():
                view = reference.get_slice(name)
                assert tuple(view.get_shape()) == tensor.shape
                assert view.get_dtype() == tensor.dtype
