"""The header of a safetensors file: read, bounded and checked against the file, without reading the weights.

Belongs here: the container format. Does not: what the tensors mean (`facts`), hashes of the bytes (`hashing`).
The rules are those of the reference implementation (huggingface/safetensors, `tensor.rs`): a little-endian
64-bit length, that many bytes of JSON, then tensors that follow each other without gap or overlap to the last
byte of the file.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath
from typing import Any

import msgspec

from warehouse.safetensors.formats import DTYPE_BITS, SNIFF_BYTES, foreign_content
from warehouse.safetensors.opening import open_file
from warehouse.safetensors.problems import (
    HeaderError,
    HeaderProblem,
    describe_os_error,
    file_system_problem,
)

MAX_HEADER_BYTES = 100_000_000
"""Largest header accepted; the cap of the reference implementation (`MAX_HEADER_SIZE`)."""

MAX_ENTRIES = 200_000
"""Most tensors accepted. The largest adapters seen have some 10,000; a cap keeps hostile headers cheap."""

Pread = Callable[[int, int], bytes]
"""Reads up to (count, offset) bytes, fewer at the end of the file; raises OSError, as `os.pread` of a descriptor."""

_LENGTH_BYTES = 8
_METADATA_KEY = "__metadata__"
# One entry holds four colons (its own, dtype, shape, data_offsets); metadata adds what its texts contain.
_MAX_COLONS = 8 * MAX_ENTRIES
_MAX_ENTRY_BYTES = 4096
_MAX_OFFSET = 2**63


class Tensor(msgspec.Struct, frozen=True, gc=False):
    """One tensor of a header. `data_offsets` are bytes from the end of the header, [begin, end)."""

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Header:
    """A parsed header.

    `length` is the number of JSON bytes, so the payload starts at `8 + length`; `tensors` are in file order;
    `metadata` is the raw `__metadata__`, unbounded but for the header itself.
    """

    path: PurePath
    file_size: int
    mtime_ns: int
    length: int
    tensors: dict[str, Tensor]
    metadata: dict[str, str]

    @property
    def payload_offset(self) -> int:
        """Bytes before the first tensor."""
        return _LENGTH_BYTES + self.length

    @property
    def payload_size(self) -> int:
        """Bytes after the header in the file as it is."""
        return self.file_size - self.payload_offset


_entries_decoder = msgspec.json.Decoder(dict[str, msgspec.Raw])
_tensor_decoder = msgspec.json.Decoder(Tensor)
_metadata_decoder = msgspec.json.Decoder(dict[str, str] | None)


def read_header(path: Path, *, max_header_bytes: int = MAX_HEADER_BYTES, max_entries: int = MAX_ENTRIES) -> Header:
    """Read and check the header of `path`.

    Reads at most `8 + max_header_bytes` bytes, and those only after the length field has been compared with the
    file. Raises `HeaderError` for everything that is wrong; where the JSON itself was sound (a truncated
    download, say) the error carries the header.
    """
    descriptor, status = open_file(path, HeaderError)
    try:
        pread = partial(os.pread, descriptor)
        return parse_header(
            pread, path, status.st_size, status.st_mtime_ns, max_header_bytes=max_header_bytes, max_entries=max_entries
        )
    finally:
        os.close(descriptor)


def parse_header(
    pread: Pread,
    path: PurePath,
    size: int,
    mtime_ns: int,
    *,
    max_header_bytes: int = MAX_HEADER_BYTES,
    max_entries: int = MAX_ENTRIES,
) -> Header:
    """As `read_header`, of what `pread` reads: a file of that size and time, or an object of a store."""
    try:
        start = pread(SNIFF_BYTES, 0)
        length = _header_length(start, path, size, max_header_bytes)
        raw = start[_LENGTH_BYTES : _LENGTH_BYTES + length]
        if length > len(raw):
            raw = _pread_exactly(pread, length, path)
    except OSError as error:
        raise HeaderError(file_system_problem(error), path, describe_os_error(error)) from error
    tensors, metadata = _parse(raw, path, max_entries)
    header = Header(path, size, mtime_ns, length, tensors, metadata)
    _check_layout(header)
    return header


def _header_length(start: bytes, path: PurePath, file_size: int, max_header_bytes: int) -> int:
    foreign = foreign_content(start)
    if foreign is not None:
        raise HeaderError(foreign[0], path, foreign[1])
    if len(start) < _LENGTH_BYTES:
        raise HeaderError(HeaderProblem.too_short, path, f"has only {len(start)} bytes, not even a header length.")
    length = int.from_bytes(start[:_LENGTH_BYTES], "little")
    if length > max_header_bytes:
        raise HeaderError(
            HeaderProblem.header_too_large,
            path,
            f"claims a header of {length:,} bytes in a file of {file_size:,}; {max_header_bytes:,} is the limit.",
        )
    if _LENGTH_BYTES + length > file_size:
        raise HeaderError(
            HeaderProblem.truncated_header,
            path,
            f"ends after {file_size:,} bytes, within its header of {length:,} bytes.",
        )
    return length


def _pread_exactly(pread: Pread, length: int, path: PurePath) -> bytes:
    raw = pread(length, _LENGTH_BYTES)
    while len(raw) < length:
        more = pread(length - len(raw), _LENGTH_BYTES + len(raw))
        if not more:
            raise HeaderError(HeaderProblem.changed_while_read, path, "became shorter while it was read.")
        raw += more
    return raw


def _parse(raw: bytes, path: PurePath, max_entries: int) -> tuple[dict[str, Tensor], dict[str, str]]:
    if not raw.isascii():
        try:
            raw.decode("utf-8")
        except UnicodeDecodeError as error:
            what = f"has a header that is not UTF-8 (byte {_LENGTH_BYTES + error.start:,} of the file)."
            raise HeaderError(HeaderProblem.not_utf8, path, what) from error
    if raw.count(b":") > _MAX_COLONS:
        raise HeaderError(HeaderProblem.too_many_entries, path, "has a header of more entries than any real file.")
    entries = _decode_entries(raw, path)
    metadata_raw = entries.pop(_METADATA_KEY, None)
    if len(entries) > max_entries:
        what = f"lists {len(entries):,} tensors; {max_entries:,} is the limit."
        raise HeaderError(HeaderProblem.too_many_entries, path, what)
    tensors = {name: _decode_tensor(name, entry, path) for name, entry in entries.items()}
    # The decoder keeps the last of equal keys; a differing count of the one key every tensor has gives it away.
    if raw.count(b'"data_offsets"') != len(tensors):
        _refuse_duplicates(raw, path)
    return tensors, _decode_metadata(metadata_raw, path)


def _decode_entries(raw: bytes, path: PurePath) -> dict[str, msgspec.Raw]:
    try:
        return _entries_decoder.decode(raw)
    except RecursionError as error:
        raise HeaderError(HeaderProblem.deep_nesting, path, "has a header nested beyond any sense.") from error
    except msgspec.ValidationError as error:
        raise HeaderError(HeaderProblem.not_an_object, path, "has a header that is not a JSON object.") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        what = f"has a header that is not JSON ({error})."
        raise HeaderError(HeaderProblem.not_json, path, what) from error


def _decode_tensor(name: str, entry: msgspec.Raw, path: PurePath) -> Tensor:
    if len(memoryview(entry)) > _MAX_ENTRY_BYTES:
        raise HeaderError(HeaderProblem.bad_entry, path, f"describes tensor {_short(name)} at absurd length.")
    try:
        tensor = _tensor_decoder.decode(entry)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _diagnose(name, path, error) from error
    if tensor.dtype not in DTYPE_BITS:
        what = f"has tensor {_short(name)} of unknown dtype {_short(tensor.dtype)}."
        raise HeaderError(HeaderProblem.bad_dtype, path, what)
    return tensor


def _diagnose(name: str, path: PurePath, error: Exception) -> HeaderError:
    """Which of its parts makes an entry unreadable."""
    detail = str(error)
    if "dtype" in detail:
        problem = HeaderProblem.bad_dtype
    elif "shape" in detail:
        problem = HeaderProblem.bad_shape
    elif "data_offsets" in detail:
        problem = HeaderProblem.bad_offsets
    else:
        problem = HeaderProblem.bad_entry
    return HeaderError(problem, path, f"describes tensor {_short(name)} wrongly ({detail}).")


def _decode_metadata(raw: msgspec.Raw | None, path: PurePath) -> dict[str, str]:
    if raw is None:
        return {}
    try:
        return _metadata_decoder.decode(raw) or {}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise HeaderError(HeaderProblem.bad_metadata, path, f"has unusable metadata ({error}).") from error


def _refuse_duplicates(raw: bytes, path: PurePath) -> None:
    """Raise when a key of the header or of a tensor occurs twice; slow, called only on suspicion."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        collected = dict(pairs)
        if len(collected) != len(pairs):
            keys = [key for key, _ in pairs]
            twice = next(key for key in collected if keys.count(key) > 1)
            raise HeaderError(HeaderProblem.duplicate_key, path, f"names {_short(twice)} twice in its header.")
        return collected

    try:
        json.loads(raw, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise HeaderError(HeaderProblem.not_json, path, f"has a header that is not JSON ({error}).") from error


def _check_layout(header: Header) -> None:
    """Check that the tensors fill the payload exactly: dtype × shape = offsets, no gap, no overlap, no rest."""
    end = 0
    for name, tensor in _in_file_order(header.tensors):
        begin, stop = tensor.data_offsets
        if not 0 <= begin <= stop < _MAX_OFFSET:
            raise _layout_error(header, HeaderProblem.bad_offsets, f"places tensor {_short(name)} at {begin}..{stop}.")
        if min(tensor.shape, default=0) < 0:
            raise _layout_error(header, HeaderProblem.bad_shape, f"has tensor {_short(name)} of negative extent.")
        bits = math.prod(tensor.shape) * DTYPE_BITS[tensor.dtype]
        if bits != 8 * (stop - begin):
            what = (
                f"gives tensor {_short(name)} ({tensor.dtype}, shape {list(tensor.shape)}) {stop - begin:,} bytes "
                f"where {bits / 8:,.10g} are needed."
            )
            raise _layout_error(header, HeaderProblem.size_mismatch, what)
        if begin != end:
            problem = HeaderProblem.gap if begin > end else HeaderProblem.overlap
            what = f"has tensor {_short(name)} start at payload byte {begin:,} where {end:,} is due."
            raise _layout_error(header, problem, what)
        end = stop
    _check_length(header, end)


def _check_length(header: Header, end: int) -> None:
    difference = header.payload_size - end
    if difference < 0:
        share = header.file_size / (header.payload_offset + end)
        what = f"lacks its last {-difference:,} bytes ({share:.0%} of {header.payload_offset + end:,} are there)."
        raise _layout_error(header, HeaderProblem.truncated_data, what)
    if difference > 0:
        what = f"goes on for {difference:,} bytes after its last tensor."
        raise _layout_error(header, HeaderProblem.trailing_data, what)


def _in_file_order(tensors: dict[str, Tensor]) -> list[tuple[str, Tensor]]:
    items = list(tensors.items())
    end = 0
    for _, tensor in items:
        if tensor.data_offsets[0] != end:
            return sorted(items, key=lambda item: item[1].data_offsets)
        end = tensor.data_offsets[1]
    return items


def _layout_error(header: Header, problem: HeaderProblem, what: str) -> HeaderError:
    return HeaderError(problem, header.path, what, header=header)


def _short(text: str) -> str:
    return repr(text if len(text) <= 80 else text[:77] + "…")
