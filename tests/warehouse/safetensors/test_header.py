"""Every way in which a header can be wrong has its reason, and nothing hostile costs more than it should."""

import contextlib
import json
import os
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors import SafetensorError, safe_open

from tests.warehouse.safetensors.files import encode, lay_out, payload_size, write
from warehouse.safetensors import DTYPE_BITS, HeaderError, HeaderProblem, read_header

GOOD = {"a": {"dtype": "F16", "shape": [2], "data_offsets": [0, 4]}}
TWO = {
    "a": {"dtype": "F16", "shape": [2], "data_offsets": [0, 4]},
    "b": {"dtype": "F16", "shape": [2], "data_offsets": [4, 8]},
}


def with_entry(**changes: object) -> dict[str, object]:
    return {"a": {**GOOD["a"], **changes}}


CASES: list[tuple[str, bytes, HeaderProblem]] = [
    ("empty", b"", HeaderProblem.empty_file),
    ("short", b"\x10\x00\x00", HeaderProblem.too_short),
    ("zeros", bytes(4096), HeaderProblem.zero_filled),
    ("length only", struct.pack("<Q", 100), HeaderProblem.truncated_header),
    ("8 EB header", struct.pack("<Q", 2**63) + b"{}", HeaderProblem.header_too_large),
    ("16 EB header", b"\xff" * 64, HeaderProblem.header_too_large),
    ("header over the cap", struct.pack("<Q", 100_000_001) + b"{}", HeaderProblem.header_too_large),
    ("cut in the header", encode(GOOD, b"1234")[:20], HeaderProblem.truncated_header),
    ("latin-1", encode(b'{"\xe9":1}'), HeaderProblem.not_utf8),
    ("no header at all", struct.pack("<Q", 0) + b"1", HeaderProblem.not_json),
    ("broken JSON", encode(b'{"a":'), HeaderProblem.not_json),
    ("NaN", encode(b'{"a":NaN}'), HeaderProblem.not_json),
    ("text after JSON", encode(b"{} x"), HeaderProblem.not_json),
    ("lone surrogate", encode(b'{"__metadata__":{"a":"\\ud800"}}'), HeaderProblem.not_json),
    ("array", encode([1]), HeaderProblem.not_an_object),
    ("string", encode('"x"'), HeaderProblem.not_an_object),
    ("deep lists", encode(b'{"a":' + b"[" * 10**6), HeaderProblem.deep_nesting),
    ("deep objects", encode(b'{"a":' * 10**5 + b"1" + b"}" * 10**5), HeaderProblem.deep_nesting),
    ("deep extra key", encode(b'{"a":{"x":' + b"[" * 10**5 + b"]" * 10**5 + b"}}"), HeaderProblem.deep_nesting),
    (
        "tensor twice",
        encode(b"{%b,%b}" % ((json.dumps(GOOD)[1:-1].encode(),) * 2), b"1234"),
        HeaderProblem.duplicate_key,
    ),
    (
        "offsets twice",
        encode(b'{"a":{"dtype":"F16","shape":[2],"data_offsets":[9,9],"data_offsets":[0,4]}}', b"1234"),
        HeaderProblem.duplicate_key,
    ),
    ("metadata of numbers", encode({"__metadata__": {"steps": 5}}), HeaderProblem.bad_metadata),
    ("metadata list", encode({"__metadata__": []}), HeaderProblem.bad_metadata),
    ("entry is a number", encode({"a": 1}), HeaderProblem.bad_entry),
    ("entry too long", encode(with_entry(shape=[1] * 5000), b"12"), HeaderProblem.bad_entry),
    ("no dtype", encode({"a": {"shape": [2], "data_offsets": [0, 4]}}, b"1234"), HeaderProblem.bad_dtype),
    ("unknown dtype", encode(with_entry(dtype="F17"), b"1234"), HeaderProblem.bad_dtype),
    ("fractional shape", encode(with_entry(shape=[2.5]), b"1234"), HeaderProblem.bad_shape),
    ("negative shape", encode(with_entry(shape=[-1, -2]), b"1234"), HeaderProblem.bad_shape),
    ("one offset", encode(with_entry(data_offsets=[0]), b"1234"), HeaderProblem.bad_offsets),
    ("reversed offsets", encode(with_entry(data_offsets=[4, 0]), b"1234"), HeaderProblem.bad_offsets),
    ("negative offset", encode(with_entry(data_offsets=[-4, 0]), b"1234"), HeaderProblem.bad_offsets),
    ("absurd offset", encode(with_entry(data_offsets=[0, 2**80]), b"1234"), HeaderProblem.bad_offsets),
    ("shape against offsets", encode(with_entry(shape=[3]), b"1234"), HeaderProblem.size_mismatch),
    ("overflowing shape", encode(with_entry(shape=[2**62, 2**62]), b"1234"), HeaderProblem.size_mismatch),
    ("half a byte", encode(with_entry(dtype="F4", shape=[7]), b"1234"), HeaderProblem.size_mismatch),
    ("gap", encode({**TWO, "b": {**TWO["b"], "data_offsets": [6, 10]}}, bytes(10)), HeaderProblem.gap),
    ("gap at the start", encode(with_entry(data_offsets=[2, 6]), bytes(6)), HeaderProblem.gap),
    ("overlap", encode({**TWO, "b": {**TWO["b"], "data_offsets": [2, 6]}}, bytes(6)), HeaderProblem.overlap),
    ("truncated", encode(TWO, b"1234567"), HeaderProblem.truncated_data),
    ("trailing", encode(TWO, b"123456789"), HeaderProblem.trailing_data),
    (
        "LFS pointer",
        b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
        HeaderProblem.git_lfs_pointer,
    ),
    ("HTML", b"\n<!DOCTYPE html>\n<html>", HeaderProblem.html_page),
    ("XML error", b"\xef\xbb\xbf<?xml version='1.0'?><Error/>", HeaderProblem.html_page),
    ("JSON error", b'{"error":"Unauthorized"}', HeaderProblem.text_document),
    ("zip", b"PK\x03\x04\x14\x00\x00\x00\x00\x00archive", HeaderProblem.zip_archive),
    ("pickle 2", b"\x80\x02}q\x00(X\x05\x00\x00\x00", HeaderProblem.pickle),
    ("pickle 4", b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00}\x94.", HeaderProblem.pickle),
    ("GGUF", b"GGUF\x03\x00\x00\x00\x10\x00\x00\x00", HeaderProblem.gguf),
]


@pytest.mark.parametrize(("content", "problem"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_every_problem_has_its_reason(tmp_path: Path, content: bytes, problem: HeaderProblem) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(HeaderError) as caught:
        read_header(path)
    assert caught.value.problem is problem
    assert str(caught.value).startswith("weights.safetensors ")
    assert len(str(caught.value)) < 600


def test_the_file_system_has_its_reasons(tmp_path: Path) -> None:
    folder = tmp_path / "folder.safetensors"
    folder.mkdir()
    pipe = tmp_path / "pipe.safetensors"
    os.mkfifo(pipe)
    file = write(tmp_path / "file.safetensors", {})
    cases = {
        tmp_path / "absent.safetensors": HeaderProblem.vanished,
        file / "below.safetensors": HeaderProblem.vanished,
        tmp_path / "nul\0.safetensors": HeaderProblem.vanished,
        folder: HeaderProblem.is_directory,
        pipe: HeaderProblem.io_error,
    }
    for path, problem in cases.items():
        with pytest.raises(HeaderError) as caught:
            read_header(path)
        assert caught.value.problem is problem


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_locked_file_is_a_matter_of_permission(tmp_path: Path) -> None:
    path = write(tmp_path / "locked.safetensors", {})
    path.chmod(0)
    with pytest.raises(HeaderError) as caught:
        read_header(path)
    assert caught.value.problem is HeaderProblem.permission


def test_a_sound_file_in_any_order_with_unicode_and_empty_tensors(tmp_path: Path) -> None:
    header = {
        "б": {"dtype": "BF16", "shape": [2, 3], "data_offsets": [4, 16], "note": {"unknown": ["keys", "pass"]}},
        "空": {"dtype": "F32", "shape": [0, 7], "data_offsets": [4, 4]},
        "a": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]},
        "__metadata__": {"title": "Ёж 🦔", "quoted": '"data_offsets"'},
    }
    path = tmp_path / "x.safetensors"
    path.write_bytes(encode(header, bytes(16)))
    read = read_header(path)
    assert read.tensors["б"].shape == (2, 3)
    assert read.metadata["title"] == "Ёж 🦔"
    assert (read.payload_offset, read.payload_size) == (path.stat().st_size - 16, 16)


@pytest.mark.parametrize("dtype", sorted(DTYPE_BITS))
def test_every_dtype_is_as_wide_as_the_reference_says(tmp_path: Path, dtype: str) -> None:
    path = write(tmp_path / "x.safetensors", {"a": (dtype, (8, 3))})
    assert read_header(path).tensors["a"].dtype == dtype
    try:
        with safe_open(path, "np") as reference:
            assert list(reference.keys()) == ["a"]
    except SafetensorError as error:
        pytest.skip(f"the installed reference does not know {dtype}: {error}")


def test_a_truncated_file_still_yields_its_header(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(encode(TWO, b"1234"))
    with pytest.raises(HeaderError) as caught:
        read_header(path)
    assert caught.value.header is not None
    assert list(caught.value.header.tensors) == ["a", "b"]
    assert "lacks its last 4 bytes" in str(caught.value)


def test_lengths_that_look_like_other_formats_are_still_safetensors(tmp_path: Path) -> None:
    for length in (0x280, 0x10280, 0x2D7D):  # low bytes 80 02 …, as a pickle begins; "}-"
        path = tmp_path / "x.safetensors"
        path.write_bytes(encode(json.dumps(GOOD).encode().ljust(length), b"1234"))
        assert read_header(path).length == length


# Functions: what they make would else be made, and kept, by every process that collects tests.
HOSTILE: dict[str, Callable[[], bytes]] = {
    "two million keys": lambda: b"{" + b",".join(b'"%d":1' % i for i in range(2_000_000)) + b"}",
    "30 MB of metadata": lambda: b'{"__metadata__":{"a":"' + b"x" * 30_000_000 + b'"},"b":[[[[[1]]]]]}',
    "28 MB of lists": lambda: b'{"a":[' + b"[1]," * 7_000_000 + b"1]}",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_headers_are_refused_in_bounded_memory(tmp_path: Path, kind: str) -> None:
    header = HOSTILE[kind]()
    path = tmp_path / "x.safetensors"
    path.write_bytes(encode(header))
    size = len(header)
    del header
    tracemalloc.start()
    try:
        with pytest.raises(HeaderError):
            read_header(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2.5 * size


tensors = st.dictionaries(
    st.text(min_size=1, max_size=12).filter(lambda name: name != "__metadata__" and name.isprintable()),
    st.tuples(st.sampled_from(["F16", "BF16", "F32", "U8", "F64"]), st.lists(st.integers(0, 4), max_size=3).map(tuple)),
    max_size=5,
)


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(content=st.one_of(st.binary(max_size=200), st.binary(max_size=100).map(encode)))
def test_arbitrary_bytes_raise_nothing_but_header_errors(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    with contextlib.suppress(HeaderError):
        read_header(path)


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(shapes=tensors, data=st.data())
def test_the_verdict_on_mutated_files_is_that_of_the_reference(
    tmp_path: Path, shapes: dict[str, tuple[str, tuple[int, ...]]], data: st.DataObject
) -> None:
    header = lay_out(shapes, {"title": "x"})
    content = bytearray(encode(header, bytes(payload_size(header))))
    for _ in range(data.draw(st.integers(0, 3))):
        position = data.draw(st.integers(0, len(content) - 1))
        match data.draw(st.sampled_from(["replace", "delete", "insert"])):
            case "replace":
                content[position] = data.draw(st.integers(0, 255))
            case "delete":
                del content[position]
            case _:
                content.insert(position, data.draw(st.sampled_from(b'0159,:"{}[]- ')))
        if not content:
            break
    path = tmp_path / "x.safetensors"
    path.write_bytes(content)
    try:
        with safe_open(path, "np") as reference:
            accepted = sorted(reference.keys())
    except (SafetensorError, OSError):
        accepted = None
    try:
        ours: list[str] | None = sorted(read_header(path).tensors)
    except HeaderError as error:
        if error.problem is HeaderProblem.duplicate_key:
            return  # stricter than the reference on purpose
        ours = None
    assert ours == accepted
