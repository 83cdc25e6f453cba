"""The hashes agree with their plain definitions, in one read, and notice a file that changes."""

import hashlib
import os
import random
import zlib
from pathlib import Path

import pytest
from blake3 import blake3

from warehouse.safetensors import HashingError, HashingStoppedError, HeaderProblem, hash_file


@pytest.mark.parametrize("size", [0, 7, 100, 0x100000, 0x100001, 3 << 20, (8 << 20) + 12_345])
@pytest.mark.parametrize("header_length", [None, 0, 92, (5 << 20) + 1])
def test_hashes_are_what_their_names_say(tmp_path: Path, size: int, header_length: int | None) -> None:
    content = random.Random(size).randbytes(size)
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    hashes = hash_file(path, header_length=header_length)
    assert hashes.sha256 == hashlib.sha256(content).hexdigest()
    assert hashes.autov2 == hashes.sha256[:10]
    assert hashes.blake3 == blake3(content).hexdigest()
    assert hashes.crc32 == f"{zlib.crc32(content):08x}"
    assert hashes.size == size
    has_payload = header_length is not None and 8 + header_length <= size
    payload = content[8 + (header_length or 0) :]
    assert hashes.payload_sha256 == (hashlib.sha256(payload).hexdigest() if has_payload else None)
    assert hashes.autov3 == (hashes.payload_sha256[:12] if hashes.payload_sha256 else None)
    sample = content[0x100000 : 0x100000 + 0x10000]
    assert hashes.autov1 == (hashlib.sha256(sample).hexdigest()[:8] if sample else None)


def test_progress_counts_every_byte(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(bytes(9 << 20))
    seen: list[tuple[int, int]] = []
    hash_file(path, header_length=None, progress=lambda done, total: seen.append((done, total)))
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})
    assert seen[-1] == (9 << 20, 9 << 20)


@pytest.mark.parametrize("size", [100, 9 << 20])
def test_it_stops_when_asked(tmp_path: Path, size: int) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(bytes(size))
    with pytest.raises(HashingStoppedError):
        hash_file(path, header_length=None, should_stop=lambda: True)


def test_a_file_that_grows_meanwhile_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(bytes(9 << 20))

    def grow(_done: int, _total: int) -> None:
        with path.open("ab") as file:
            file.write(b"more")

    with pytest.raises(HashingError) as caught:
        hash_file(path, header_length=None, progress=grow)
    assert caught.value.problem is HeaderProblem.changed_while_read


def test_a_file_rewritten_in_place_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "x.bin"
    path.write_bytes(bytes(9 << 20))

    def touch(_done: int, _total: int) -> None:
        os.utime(path, ns=(1, 1))

    with pytest.raises(HashingError) as caught:
        hash_file(path, header_length=None, progress=touch)
    assert caught.value.problem is HeaderProblem.changed_while_read


def test_unreadable_files_have_their_reasons(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    cases = {
        tmp_path / "absent": HeaderProblem.vanished,
        tmp_path: HeaderProblem.is_directory,
        pipe: HeaderProblem.io_error,
    }
    for path, problem in cases.items():
        with pytest.raises(HashingError) as caught:
            hash_file(path, header_length=None)
        assert caught.value.problem is problem
