"""Pictures: told by their bytes, kept once, and copied with an infotext that other tools read."""

import io
import os
import time
from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import insert

from warehouse.content import GRACE
from warehouse.engine import Database
from warehouse.models import GeneratedImage, utc_now
from warehouse.pictures import Infotext, PictureFormat, PictureStore, UnknownPictureError, sniff, with_infotext
from warehouse.pictures.collecting import collect_pictures
from warehouse.pictures.decoding import pixels_of

FORMATS = ["PNG", "JPEG", "WEBP", "WEBP lossless"]


def picture(kind: str, size: tuple[int, int] = (40, 24), **options: object) -> bytes:
    stream = io.BytesIO()
    name, _, lossless = kind.partition(" ")
    image = Image.effect_noise(size, 50).convert("RGB")
    image.save(stream, name, **({"lossless": True} if lossless else {}), **options)
    return stream.getvalue()


def age(folder: Path) -> None:
    """Let the files of a folder be older than what is left alone."""
    then = time.time() - GRACE.total_seconds() - 60
    for path in folder.rglob("*"):
        if path.is_file():
            os.utime(path, (then, then))


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
    age(tmp_path)
    assert store.discard(first.sha256)
    assert store.get(first.sha256) is None
    assert not store.discard(first.sha256)
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_a_picture_that_is_put_again_while_it_is_to_go_stays(tmp_path: Path) -> None:
    store, data = PictureStore(tmp_path), picture("PNG")
    kept = store.put(data)
    age(tmp_path)
    store.put(data)  # by a generation whose row is on its way
    assert not store.discard(kept.sha256)
    assert store.get(kept.sha256) == data


def test_what_no_row_needs_is_collected_when_it_is_old(database: Database, tmp_path: Path) -> None:
    store = PictureStore(tmp_path)
    needed, deleted, orphan = (store.put(picture("PNG")) for _ in range(3))
    half = tmp_path / "ab" / ".half-written.png.0123"
    half.parent.mkdir(exist_ok=True)
    half.write_bytes(b"x")
    row = {"position": 0, "mode": "x", "format": "png", "width": 1, "height": 1, "size": 1, "prompt": ""}
    row |= {"params": {}, "created_at": utc_now(), "is_favorite": False}
    with database.write() as connection:
        for number, (kept, gone) in enumerate(((needed, False), (deleted, True))):
            ids = {"id": str(number), "job_id": str(number), "sha256": kept.sha256}
            at = {"deleted_at": utc_now() if gone else None}
            connection.execute(insert(GeneratedImage).values(**row, **ids, **at))
    assert collect_pictures(database, store) == 0
    age(tmp_path)
    assert collect_pictures(database, store) == 3
    assert store.get(needed.sha256) is not None
    assert not any(store.path_of(each.sha256) for each in (deleted, orphan))
    assert not half.exists()


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


@pytest.mark.parametrize("cut", [12, 16, 20, 24])
def test_a_webp_whose_header_says_no_size_is_told_and_no_other_error(cut: int) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (8, 5)).save(stream, "WEBP")
    with pytest.raises(UnknownPictureError):
        with_infotext(stream.getvalue()[:cut], "a knight")


def test_pixels_are_bounded_and_broken_pictures_are_told(tmp_path: Path) -> None:
    path = tmp_path / "preview.png"
    Image.new("RGB", (300, 200)).save(path)
    assert pixels_of(path).size == (300, 200)
    with pytest.raises(UnknownPictureError, match="300 × 200 pixels are too many"):
        pixels_of(path, max_pixels=1000)
    whole = path.read_bytes()
    for broken in (whole[:40], whole[:-30], b"", whole.replace(b"IDAT", b"IDAX")):
        with pytest.raises(UnknownPictureError):
            pixels_of(broken)
    # Pillow would hand it to another program.
    with pytest.raises(UnknownPictureError):
        pixels_of(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n%%EOF\n")
