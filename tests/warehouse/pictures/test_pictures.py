"""Pictures: told by their bytes, kept once, and copied with an infotext that other tools read."""

import io
import os
from pathlib import Path

import pytest
from PIL import Image

from warehouse.pictures import Infotext, PictureFormat, PictureStore, UnknownPictureError, sniff, with_infotext

FORMATS = ["PNG", "JPEG", "WEBP", "WEBP lossless"]


def picture(kind: str, size: tuple[int, int] = (40, 24), **options: object) -> bytes:
    stream = io.BytesIO()
    name, _, lossless = kind.partition(" ")
    image = Image.effect_noise(size, 50).convert("RGB")
    image.save(stream, name, **({"lossless": True} if lossless else {}), **options)
    return stream.getvalue()


def read_text(data: bytes) -> str:
    image = Image.open(io.BytesIO(data))
    if image.format == "PNG":
        return str(image.info["parameters"])
    raw = image.getexif().get_ifd(0x8769)[0x9286]
    assert raw[:8] == b"UNICODE\0"
    return str(raw[8:].decode("utf-16-be"))


@pytest.mark.parametrize("kind", FORMATS)
def test_format_and_size_are_told_by_the_bytes(kind: str) -> None:
    found = sniff(picture(kind))
    expected = {"PNG": PictureFormat.PNG, "JPEG": PictureFormat.JPEG}.get(kind, PictureFormat.WEBP)
    assert (found.format, found.width, found.height) == (expected, 40, 24)


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF1234WAVE", b"<svg/>", b"\xff\xd8"])
def test_anything_else_is_no_picture(data: bytes, tmp_path: Path) -> None:
    with pytest.raises(UnknownPictureError):
        PictureStore(tmp_path).put(data)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("text", ["a dragon\nSteps: 4, Seed: 1", "墨龍 🐉 <lora:ink:0.5>\nSteps: 4", "x" * 20_000])
def test_a_copy_carries_the_text_and_the_same_pixels(kind: str, text: str) -> None:
    data = picture(kind)
    copy = with_infotext(data, text)
    assert read_text(copy) == text
    assert (
        Image.open(io.BytesIO(copy)).convert("RGB").tobytes() == Image.open(io.BytesIO(data)).convert("RGB").tobytes()
    )


@pytest.mark.parametrize("kind", FORMATS)
def test_a_text_that_is_there_gives_way(kind: str) -> None:
    once = with_infotext(picture(kind), "first")
    again = with_infotext(once, "second")
    assert read_text(again) == "second"
    assert b"first" not in again


def test_an_infotext_too_long_for_jpeg_leaves_the_picture_as_it_is() -> None:
    data = picture("JPEG")
    assert with_infotext(data, "x" * 100_000) == data


def test_a_picture_is_kept_once_as_it_is(tmp_path: Path) -> None:
    store, data = PictureStore(tmp_path), picture("PNG")
    first, second = store.put(data), store.put(data)
    assert first == second
    assert store.get(first.sha256) == data
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 1
    assert store.remove(first.sha256)
    assert store.get(first.sha256) is None
    assert not store.remove(first.sha256)


@pytest.mark.parametrize("name", ["", "..", "../../etc/passwd", "A" * 64, "a" * 63, "a" * 64 + "\n"])
def test_only_a_digest_is_a_name(tmp_path: Path, name: str) -> None:
    assert PictureStore(tmp_path).path_of(name) is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_what_cannot_be_written_leaves_nothing(tmp_path: Path) -> None:
    store = PictureStore(tmp_path)
    tmp_path.chmod(0o500)
    with pytest.raises(OSError, match="denied"):
        store.put(picture("PNG"))


def test_the_text_quotes_what_holds_its_separators() -> None:
    text = Infotext(
        prompt="a <lora:ink:0.5>",
        negative_prompt="blurry",
        facts={"steps": 4, "sampler_name": "Euler a", "seed": 7, "size": "64x64", "model": "a, b", "scheduler": None},
        adapters=[("ink", "0190a6f2-7c1e-7b5a-9c55-0b8f6f2f7f11")],
    ).text()
    assert text.splitlines() == [
        "a <lora:ink:0.5>",
        "Negative prompt: blurry",
        (
            'Steps: 4, Sampler: Euler a, Seed: 7, Size: 64x64, Model: "a, b", '
            'LoRA ids: "ink: 0190a6f2-7c1e-7b5a-9c55-0b8f6f2f7f11", Version: LoRA Manager'
        ),
    ]
