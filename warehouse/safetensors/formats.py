"""Which files are weights, by name and by their first bytes; the dtypes of the safetensors format.

Belongs here: suffixes, magic numbers, dtype widths. Does not: parsing (`header`).
"""

from __future__ import annotations

from warehouse.safetensors.problems import HeaderProblem

SAFETENSORS_SUFFIXES = frozenset({".safetensors", ".sft"})
PICKLE_SUFFIXES = frozenset({".pt", ".pth", ".ckpt", ".bin"})
WEIGHT_SUFFIXES = SAFETENSORS_SUFFIXES | PICKLE_SUFFIXES
"""Lower-case suffixes of files that hold weights."""

DTYPE_BITS: dict[str, int] = {
    "BOOL": 8,
    "F4": 4,
    "F6_E2M3": 6,
    "F6_E3M2": 6,
    "U8": 8,
    "I8": 8,
    "F8_E5M2": 8,
    "F8_E4M3": 8,
    "F8_E8M0": 8,
    "F8_E4M3FNUZ": 8,
    "F8_E5M2FNUZ": 8,
    "I16": 16,
    "U16": 16,
    "F16": 16,
    "BF16": 16,
    "I32": 32,
    "U32": 32,
    "F32": 32,
    "C64": 64,
    "F64": 64,
    "I64": 64,
    "U64": 64,
}
"""Bits of one element; the dtypes of the reference implementation (huggingface/safetensors, `tensor.rs`)."""

SNIFF_BYTES = 512
"""As many first bytes as `foreign_content` looks at."""

_LFS = b"version https://git-lfs.github.com/spec/"
_PAGE_STARTS = (b"<!doctype", b"<html", b"<head", b"<body", b"<?xml", b"<error", b"<!--")


_LARGEST_LENGTH = 2**32
"""A length field below this could be one of safetensors; the starts of texts and archives read as far more."""


def foreign_content(start: bytes) -> tuple[HeaderProblem, str] | None:
    """What a file is instead of safetensors, judged by its first bytes; None when nothing else is recognised."""
    if not start:
        return HeaderProblem.empty_file, "is empty (0 bytes)."
    if not any(start):
        return HeaderProblem.zero_filled, "begins with nothing but zero bytes."
    if start.startswith((b"\x80\x04\x95", b"\x80\x05\x95")):
        return HeaderProblem.pickle, "is a Python pickle."
    if len(start) >= 8 and int.from_bytes(start[:8], "little") < _LARGEST_LENGTH:
        return None
    return _foreign_binary(start) or _foreign_text(start)


def _foreign_binary(start: bytes) -> tuple[HeaderProblem, str] | None:
    if start.startswith(b"PK\x03\x04"):
        return HeaderProblem.zip_archive, "is a zip archive (a PyTorch checkpoint or packed files)."
    if start[:1] == b"\x80" and start[1:2] in (b"\x02", b"\x03"):
        return HeaderProblem.pickle, "is a Python pickle."
    if start.startswith(b"GGUF"):
        return HeaderProblem.gguf, "is a GGUF file."
    return None


def _foreign_text(start: bytes) -> tuple[HeaderProblem, str] | None:
    text = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith(_LFS):
        return HeaderProblem.git_lfs_pointer, "is a Git LFS pointer, not the weights themselves."
    if text[:9].lower().startswith(_PAGE_STARTS):
        return HeaderProblem.html_page, "is a web page saved under the name of a weight file."
    head = start[:16]
    if len(head) >= 8 and all(byte in b"\t\n\r" or 32 <= byte < 127 for byte in head):
        return HeaderProblem.text_document, f"is a text that begins {text[:40].decode('ascii', 'replace')!r}."
    return None
