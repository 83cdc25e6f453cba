"""What reads bytes of strangers, each as one function of bytes, with sound examples to begin from.

A target returns whatever it is given: one that raises has found a bug. Belongs here: the targets.
Does not: where the bytes come from (`test_targets` for the suite, `__main__` for hours of guided search).
"""

import contextlib
import io
import json
import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import msgspec

from tests.warehouse.civitai.builders import SHA_A, info, model, version, weight
from tests.warehouse.ingest.library import weights
from warehouse.civitai import BundleFacts, Source, merge, read_document
from warehouse.civitai.markup import html_to_text, plain_to_html, sanitise_html
from warehouse.civitai.records import Example
from warehouse.civitai.strengths import Identity, strengths_of
from warehouse.lexical.tokens import asked
from warehouse.pictures import UnknownPictureError, sniff, with_infotext
from warehouse.pictures.decoding import pixels_of
from warehouse.prompts import lora_tags, parse, phrases, plain, without_lora_tags
from warehouse.safetensors import inspect_file


@dataclass(frozen=True)
class Target:
    """A reader, and sound input of it."""

    read: Callable[[bytes], None]
    seeds: Callable[[], list[bytes]]


def _weight_file(data: bytes) -> None:
    with _scratch() as path:
        path.write_bytes(data)
        found = inspect_file(path)
        assert found.valid or found.problem is not None
        msgspec.json.encode(found.facts)


@contextlib.contextmanager
def _scratch():  # type: ignore[no-untyped-def]
    """A file in memory where there is some."""
    folder = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.NamedTemporaryFile(suffix=".safetensors", dir=folder) as file:
        yield Path(file.name)


def _weight_seeds() -> list[bytes]:
    training = {
        "ss_network_dim": "16",
        "ss_network_alpha": "8.0",
        "ss_tag_frequency": json.dumps({"set": {"ink": 3, "a, b": 1}}),
        "ss_datasets": json.dumps([{"resolution": [512, 768], "tag_frequency": {}}]),
        "ss_training_started_at": "1700000000.5",
        "ss_resolution": "(512, 512)",
        "modelspec.resolution": "1024x1024",
        "modelspec.thumbnail": "data:image/jpeg;base64,/9j/",
        "sshs_model_hash": SHA_A,
    }
    return [weights(1), weights(2, metadata=training)]


def _document(data: bytes) -> None:
    for name in ("/lib/x.json", "/lib/x.civitai.info"):
        reading = read_document(data, file_name=name)
        assert (reading.reason is None) == (reading.reason_code is None)
        source = Source(path=name, mtime_ns=1, size=len(data), reading=reading)
        here = weight("/lib/x.safetensors", sha256=SHA_A)
        msgspec.json.encode(merge(BundleFacts(directory="/lib", stem="x", weight=here, sources=[source])))


def _document_seeds() -> list[bytes]:
    a1111 = {"description": "a", "sd version": "SDXL", "activation text": "a, b", "preferred weight": 0.8, "notes": "n"}
    manager = {"file_name": "x", "model_name": "X", "sha256": SHA_A, "base_model": "SDXL 1.0", "usage_tips": "{}"}
    header = {"__metadata__": {"modelspec.title": "X", "ss_network_dim": "8"}}
    page = {"items": [model(1, version(11))], "metadata": {"nextCursor": "1"}}
    return [json.dumps(each).encode() for each in (model(1, version(11)), info(), a1111, manager, header, page)]


def _prompt(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    parsed = parse(text)
    asked(parsed)
    phrases(parsed)
    plain(text)
    assert not lora_tags(without_lora_tags(text)) or "<lora:" in text.lower()
    for tag in lora_tags(text):
        strengths_of([Example(prompt=text)], Identity(name=tag.name))


def _prompt_seeds() -> list[bytes]:
    return [
        b"a knight, (ornate armour:1.2), [blurry], <lora:ink_dragon:0.8:0.5>, <lora:x>, masterpiece",
        b"BREAK a AND b :0.5 <lyco:y:1> {a|b} ((deep)) \\(escaped\\)\nNegative prompt: bad",
        "水墨画, 竹子, <lora:墨:-1.5>".encode(),
    ]


def _markup(data: bytes) -> None:
    text = data.decode("utf-8", "replace")
    clean = sanitise_html(text)
    if clean is not None:
        assert "<script" not in clean.lower()
        html_to_text(clean)
    plain_to_html(text)


def _markup_seeds() -> list[bytes]:
    return [b'<p>a <b>b</b> <a href="https://x.example/?a=1&b">c</a></p><ul><li>d</li></ul><pre>e\n f</pre>&amp;&#x41;']


def _picture(data: bytes) -> None:
    with contextlib.suppress(UnknownPictureError):
        sniff(data)
    with contextlib.suppress(UnknownPictureError):
        with_infotext(data, "a knight, 水")
    with contextlib.suppress(UnknownPictureError):
        pixels_of(data, max_pixels=1_000_000)


@cache
def _picture_seeds() -> list[bytes]:
    from PIL import Image, PngImagePlugin

    seeds = []
    for kind, mode, options in (
        ("PNG", "RGB", {}),
        ("PNG", "P", {}),
        ("JPEG", "RGB", {}),
        ("WEBP", "RGB", {}),
        ("WEBP", "RGBA", {"lossless": True}),
        ("GIF", "P", {}),
    ):
        stream = io.BytesIO()
        if kind == "PNG":
            texts = PngImagePlugin.PngInfo()
            texts.add_text("parameters", "a knight\nSteps: 20")
            options = {"pnginfo": texts}
        Image.new(mode, (8, 5), 7 if mode == "P" else "red").save(stream, kind, **options)
        seeds.append(stream.getvalue())
    return seeds


TARGETS = {
    "weights": Target(_weight_file, _weight_seeds),
    "documents": Target(_document, _document_seeds),
    "prompts": Target(_prompt, _prompt_seeds),
    "markup": Target(_markup, _markup_seeds),
    "pictures": Target(_picture, _picture_seeds),
}
