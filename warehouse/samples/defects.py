"""What goes wrong in real libraries, made on purpose: each defect once before any twice.

Belongs here: broken, ambiguous and duplicate files. Does not: sound ones (`library`).
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace

import msgspec

from warehouse.samples import documents
from warehouse.samples.library import Library
from warehouse.samples.weights import retitled, weight_file

_FOLDER = "odds-and-ends"


@dataclass(frozen=True, slots=True)
class Defect:
    """One thing that goes wrong: what it is, whether it needs weight files, and how to make it.

    `make` gets the library and a path without suffix and returns the path of what it wrote.
    """

    what: str
    needs_weights: bool
    make: Callable[[Library, str], str]


def add_defects(library: Library, adapters: int) -> None:
    """Add some defects to a library of `adapters`: one for eight, at least four; all kinds, then one for fifty."""
    kinds = [defect for defect in DEFECTS if library.with_weights or not defect.needs_weights]
    count = max(min(max(4, adapters // 8), len(kinds)), adapters // 50)
    for number in range(count):
        defect = kinds[number % len(kinds)]
        path = defect.make(library, f"{_FOLDER}/{library.names.subject(library.random).stem}")
        library.report.broken[path] = defect.what


def _truncated_download(library: Library, stem: str) -> str:
    model = library.model(versions=1)
    content = weight_file(library.random, model.subject, model.versions[0])
    library.folder.write(f"{stem}.safetensors", content[: len(content) * 2 // 3])
    document = documents.version_document(library.random, model, model.versions[0], merged=True)
    library.write_json(f"{stem}.civitai.info", document)
    return f"{stem}.safetensors"


def _html_page(library: Library, stem: str) -> str:
    page = (
        b"<!DOCTYPE html>\n<html><head><title>Sign in</title></head><body>Please sign in to download.</body></html>\n"
    )
    library.folder.write(f"{stem}.safetensors", page)
    return f"{stem}.safetensors"


def _hostile_length(library: Library, stem: str) -> str:
    library.folder.write(f"{stem}.safetensors", struct.pack("<Q", 2**63) + b'{"a":1}' + bytes(100))
    return f"{stem}.safetensors"


def _broken_json(library: Library, stem: str) -> str:
    library.folder.write(f"{stem}.civitai.info", _version_bytes(library)[:-40])
    return f"{stem}.civitai.info"


def _same_file_twice(library: Library, stem: str) -> str:
    library.folder.write(f"{stem}_copy.safetensors", library.random.choice(library.specimens)[1])
    return f"{stem}_copy.safetensors"


def _checkpoint_document(library: Library, stem: str) -> str:
    document = documents.api_model(library.random, library.model(versions=1))
    library.write_json(f"{stem}.json", {**document, "type": "Checkpoint"})
    return f"{stem}.json"


def _same_weights_other_header(library: Library, stem: str) -> str:
    content = retitled(library.random.choice(library.specimens)[1], "Renamed by a tool")
    library.folder.write(f"{stem}_retitled.safetensors", content)
    return f"{stem}_retitled.safetensors"


def _not_found_marker(library: Library, stem: str) -> str:
    model = library.model(versions=1)
    library.folder.write(f"{stem}.safetensors", weight_file(library.random, model.subject, model.versions[0]))
    library.folder.write(f"{stem}.civitai.info", b"{}")
    return f"{stem}.civitai.info"


def _ambiguous_version(library: Library, stem: str) -> str:
    model = library.model(versions=2)
    library.folder.write(f"{stem}.safetensors", weight_file(library.random, model.subject, model.versions[0]))
    library.write_json(f"{stem}.json", documents.api_model(library.random, model))
    return f"{stem}.json"


def _name_clash(library: Library, stem: str) -> str:
    first = library.model(versions=1)
    second = library.records.model(first.subject, versions=1)
    second = replace(second, versions=[replace(second.versions[0], name=first.versions[0].name)])
    library.write_json(f"{stem}_a.json", documents.api_model(library.random, first))
    library.write_json(f"{stem}_b.json", documents.api_model(library.random, second))
    return f"{stem}_b.json"


def _wrong_claim(library: Library, stem: str) -> str:
    model = library.model(versions=1)
    name = f"{stem.rpartition('/')[2]}.safetensors"
    version = replace(model.versions[0], file=replace(model.versions[0].file, name=name))
    library.folder.write(f"{stem}.safetensors", weight_file(library.random, model.subject, version))
    document = documents.version_document(library.random, model, version, merged=True)
    library.write_json(f"{stem}.civitai.info", document)
    return f"{stem}.civitai.info"


def _utf16(library: Library, stem: str) -> str:
    library.folder.write(f"{stem}.civitai.info", _version_bytes(library).decode().encode("utf-16"))
    return f"{stem}.civitai.info"


def _byte_order_mark(library: Library, stem: str) -> str:
    library.folder.write(f"{stem}.civitai.info", b"\xef\xbb\xbf" + _version_bytes(library))
    return f"{stem}.civitai.info"


def _not_a_number(library: Library, stem: str) -> str:
    document = _version_bytes(library).replace(b'"rating":0', b'"rating":NaN', 1)
    library.folder.write(f"{stem}.civitai.info", document)
    return f"{stem}.civitai.info"


def _embedding_document(library: Library, stem: str) -> str:
    document = documents.api_model(library.random, library.model(versions=1))
    library.write_json(f"{stem}.json", {**document, "type": "TextualInversion"})
    return f"{stem}.json"


def _lfs_pointer(library: Library, stem: str) -> str:
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 151114880\n"
    library.folder.write(f"{stem}.safetensors", pointer)
    return f"{stem}.safetensors"


def _empty_file(library: Library, stem: str) -> str:
    library.folder.write(f"{stem}.safetensors", b"")
    return f"{stem}.safetensors"


def _pickled_weights(library: Library, stem: str) -> str:
    library.folder.write(f"{stem}.pt", pickle.dumps({"lora_unet_example.alpha": 1.0}, protocol=2))
    return f"{stem}.pt"


def _overlapping_tensors(library: Library, stem: str) -> str:
    model = library.model(versions=1)
    content = weight_file(library.random, model.subject, model.versions[0])
    length = int.from_bytes(content[:8], "little")
    header = msgspec.json.decode(content[8 : 8 + length], type=dict[str, dict[str, object]])
    entry = header[max(name for name in header if name != "__metadata__")]
    begin, end = msgspec.convert(entry["data_offsets"], tuple[int, int])
    entry["data_offsets"] = [begin - 2, end - 2]
    raw = msgspec.json.encode(header)
    library.folder.write(f"{stem}.safetensors", struct.pack("<Q", len(raw)) + raw + content[8 + length : -2])
    return f"{stem}.safetensors"


def _version_bytes(library: Library) -> bytes:
    model = library.model(versions=1)
    return msgspec.json.encode(documents.version_document(library.random, model, model.versions[0], merged=True))


DEFECTS: tuple[Defect, ...] = (
    Defect("a download that broke off", True, _truncated_download),
    Defect("the same file twice", True, _same_file_twice),
    Defect("JSON that breaks off", False, _broken_json),
    Defect("the document of a checkpoint", False, _checkpoint_document),
    Defect("a web page saved as weights", True, _html_page),
    Defect("the same weights under another header", True, _same_weights_other_header),
    Defect("a weight file that two versions could be", True, _ambiguous_version),
    Defect("two models of one name and version", False, _name_clash),
    Defect("a header that claims eight exabytes", True, _hostile_length),
    Defect("a model that the site did not know", True, _not_found_marker),
    Defect("a document whose hash is not that of its file", True, _wrong_claim),
    Defect("a document in UTF-16", False, _utf16),
    Defect("NaN in a document", False, _not_a_number),
    Defect("a byte order mark before a sound document", False, _byte_order_mark),
    Defect("the document of an embedding", False, _embedding_document),
    Defect("a Git LFS pointer instead of weights", True, _lfs_pointer),
    Defect("an empty weight file", True, _empty_file),
    Defect("pickled weights", True, _pickled_weights),
    Defect("tensors that overlap", True, _overlapping_tensors),
)
"""In the order in which small libraries get them."""
