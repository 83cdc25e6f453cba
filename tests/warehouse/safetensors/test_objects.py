"""Weight files in a store are judged as the same bytes on disk are, whatever the parts they are read in."""

import dataclasses
import struct
from pathlib import Path

import pytest

from tests.stores import KEY, Asked, Store
from tests.warehouse.safetensors.files import encode, lay_out, payload_size
from tests.warehouse.safetensors.test_header import CASES
from warehouse.safetensors import Inspection, inspect_file, inspect_object, objects
from warehouse.storage import Access

NAME = "a.safetensors"


def network(modules: int, alpha: float = 3.5, **metadata: str) -> bytes:
    """A network whose alpha tensors lie between the others, each of the same value."""
    tensors: dict[str, tuple[str, tuple[int, ...]]] = {}
    for number in range(modules):
        name = f"lora_unet_down_blocks_0_attentions_{number}_proj_in"
        tensors |= {
            f"{name}.alpha": ("F16", ()),
            f"{name}.lora_down.weight": ("F16", (4, 320)),
            f"{name}.lora_up.weight": ("F16", (320, 4)),
        }
    header = lay_out(tensors, metadata=metadata)
    payload = bytearray(range(251)) * (payload_size(header) // 251 + 1)
    for key, entry in header.items():
        if key.endswith(".alpha"):
            begin, end = entry["data_offsets"]
            payload[begin:end] = struct.pack("<e", alpha)
    return encode(header, bytes(payload[: payload_size(header)]))


@pytest.fixture
def access(store: Store) -> Access:
    key_id, _, secret = KEY.partition(":")
    return Access(endpoint=store.wire.url, key_id=key_id, secret=secret, retry_seconds=0.0)


def on_disk(folder: Path, content: bytes, *, hashes: bool = True) -> Inspection:
    (folder / NAME).write_bytes(content)
    return inspect_file(folder / NAME, hashes=hashes)


def without_time(inspection: Inspection) -> Inspection:
    if inspection.hashes is None:
        return inspection
    return dataclasses.replace(inspection, hashes=dataclasses.replace(inspection.hashes, mtime_ns=0))


@pytest.mark.parametrize("part", [1_000, 999_983, 8 << 20])
def test_it_is_what_the_same_file_is(
    store: Store, access: Access, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: int
) -> None:
    """In parts so small that values of alpha tensors lie across two of them, and beyond the buffers of the hashes."""
    content = network(20 if part == 1_000 else 600)
    monkeypatch.setattr(objects, "PART_BYTES", part)
    store.put(NAME, content)
    found = inspect_object(store.url(NAME), access)
    assert without_time(found) == without_time(on_disk(tmp_path, content))
    assert found.facts is not None
    assert found.facts.alpha == 3.5
    assert len(store.wire.asked) <= -(-len(content) // part) + 1


@pytest.mark.parametrize("case", CASES, ids=[case[0] for case in CASES])
def test_every_problem_is_found_there_too(
    store: Store, access: Access, tmp_path: Path, case: tuple[str, bytes, object]
) -> None:
    _, content, _ = case
    store.put(NAME, content)
    assert without_time(inspect_object(store.url(NAME), access)) == without_time(on_disk(tmp_path, content))


def test_a_header_alone_is_one_request_and_guesses_no_alpha(store: Store, access: Access, tmp_path: Path) -> None:
    content = network(600)
    store.put(NAME, content)
    found = inspect_object(store.url(NAME), access, hashes=False)
    assert [asked.range for asked in store.wire.asked] == [f"bytes=0-{objects.HEAD_BYTES - 1}"]
    expected = on_disk(tmp_path, content, hashes=False).facts
    assert expected is not None
    assert found.facts == dataclasses.replace(expected, alpha=None)


def test_a_header_that_is_longer_is_two_requests(store: Store, access: Access) -> None:
    content = network(2, description="word " * 100_000)
    store.put(NAME, content)
    assert inspect_object(store.url(NAME), access, hashes=False).valid
    first, second = store.wire.asked
    assert first.if_match is None
    assert second.if_match is not None
    assert second.range is not None
    assert second.range.startswith(f"bytes={objects.HEAD_BYTES}-")


def test_a_replaced_object_is_noticed_between_the_two_parts_of_its_header(store: Store, access: Access) -> None:
    store.put(NAME, network(2, description="word " * 100_000))

    def replace(asked: Asked) -> None:
        if asked.if_match is not None:
            store.put(NAME, network(2, description="other" * 100_000))

    store.wire.before = replace
    assert inspect_object(store.url(NAME), access, hashes=False).problem == "changed_while_read"


def test_an_object_that_is_gone_is_an_answer(store: Store, access: Access) -> None:
    assert inspect_object(store.url("gone.safetensors"), access).problem == "vanished"
    assert inspect_object("s3://never-made/a.safetensors", access).problem == "unreachable"
