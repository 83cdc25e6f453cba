"""What the files of a library are, judged by their names alone: weights, documents, previews, and whose they are.

Belongs here: suffixes, stems, the order of previews, folders that are no library. Does not: reading anything.
"""

import re
from enum import StrEnum
from typing import Final

from msgspec import Struct

from warehouse.safetensors.formats import WEIGHT_SUFFIXES


class ElementKind(StrEnum):
    """What a file is to its bundle."""

    WEIGHT = "weight"
    DOCUMENT = "document"
    PREVIEW = "preview"


class Element(Struct, frozen=True, gc=False):
    """A file that belongs to the bundle of its folder and `stem`; `rank` orders previews, the best one first."""

    kind: ElementKind
    stem: str
    rank: int = 0


_LONG_DOCUMENT_SUFFIXES: Final = frozenset(
    {
        ".api_info.json",
        ".civitai.info",
        ".cm-info.json",
        ".metadata.json",
        ".rgthree-info.json",
        ".swarm.json",
    }
)
"""Suffixes of two parts; every other `.json` and `.info` is a document under the name before it."""
_AFTER_FULL_NAME: Final = ".rgthree-info.json"
"""The one suffix that follows the full name of the weight file, its suffix included."""

PREVIEW_SUFFIXES: Final = (
    *(f".preview.{suffix}" for suffix in ("png", "jpg", "jpeg", "webp", "mp4")),
    *(f".{suffix}" for suffix in ("png", "jpg", "jpeg", "webp", "gif", "mp4", "webm", "avif", "jxl")),
    ".thumb.jpg",
    ".thumb.png",
    ".example.0.jpeg",
)
"""In the order in which the tools prefer them."""
_PREVIEWS_LONGEST_FIRST: Final = sorted(enumerate(PREVIEW_SUFFIXES), key=lambda item: -len(item[1]))
_PREVIEW_ENDINGS: Final = frozenset(suffix[suffix.rindex(".") :] for suffix in PREVIEW_SUFFIXES)

_FOREIGN_FOLDERS: Final = frozenset(
    {
        "__macosx",
        "__pycache__",
        "$recycle.bin",
        "@eadir",
        "lost+found",
        "node_modules",
        "site-packages",
        "system volume information",
    }
)
_CIVITDL_FOLDER: Final = re.compile(r"extra_data-vid_\d{1,18}")
_CIVITDL_DOCUMENT: Final = re.compile(r"model_dict-mid_(\d{1,18})-vid_(\d{1,18})\.json", re.IGNORECASE)
_CIVITDL_WEIGHT: Final = re.compile(r"-mid_(\d{1,18})-vid_(\d{1,18})")


def classify(name: str) -> Element | None:
    """What a file is by its name; None for a file that is nothing to a library."""
    if name.startswith("."):
        return None
    lower = name.lower()
    dot = lower.rfind(".")
    if dot <= 0:
        return None
    ending = lower[dot:]
    if ending in WEIGHT_SUFFIXES:
        return Element(ElementKind.WEIGHT, name[:dot])
    if ending in (".json", ".info"):
        return _document(name, lower, dot)
    if ending in _PREVIEW_ENDINGS:
        return _preview(name, lower)
    return None


def _document(name: str, lower: str, dot: int) -> Element:
    before = lower.rfind(".", 0, dot)
    suffix = lower[before:] if before > 0 else ""
    if suffix not in _LONG_DOCUMENT_SUFFIXES:
        return Element(ElementKind.DOCUMENT, name[:dot])
    stem = name[:before]
    if suffix == _AFTER_FULL_NAME:
        inner = stem.rfind(".")
        if inner > 0 and stem[inner:].lower() in WEIGHT_SUFFIXES:
            stem = stem[:inner]
    return Element(ElementKind.DOCUMENT, stem)


def _preview(name: str, lower: str) -> Element | None:
    rank, suffix = next((rank, suffix) for rank, suffix in _PREVIEWS_LONGEST_FIRST if lower.endswith(suffix))
    stem = name[: -len(suffix)]
    return Element(ElementKind.PREVIEW, stem, rank) if stem else None


def is_foreign_folder(name: str) -> bool:
    """Whether a folder is hidden, or known to hold no library."""
    return name.startswith(".") or name.lower() in _FOREIGN_FOLDERS


def civitdl_key(folder: str, name: str, kind: ElementKind) -> str | None:
    """What a weight file of civitdl and its document share; None for any other file.

    The document lies in `extra_data-vid_V` below the folder of the weight, whose name carries the same two numbers.
    """
    if kind is ElementKind.DOCUMENT:
        found = _CIVITDL_DOCUMENT.fullmatch(name)
        parent, _, own = folder.rpartition("/")
        return f"{parent}/{found[1]}-{found[2]}" if found and _CIVITDL_FOLDER.fullmatch(own) else None
    found = _CIVITDL_WEIGHT.search(name)
    return f"{folder}/{found[1]}-{found[2]}" if found else None
