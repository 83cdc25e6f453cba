"""Preview images in the artistic space, by the real loading code of CLIP models on a tiny one with random weights."""

from pathlib import Path

import pytest
from PIL import Image
from sqlalchemy import select

from tests.warehouse.vectors import library
from warehouse.engine import Database
from warehouse.models import Embedding
from warehouse.settings import Settings
from warehouse.vectors import compute_embeddings, publish_index
from warehouse.vectors.encoders import ImageEncoder, open_encoder


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CLIP of two layers whose tokens are single letters."""
    from transformers import CLIPConfig, CLIPImageProcessor, CLIPModel, CLIPProcessor, CLIPTokenizer

    folder = tmp_path_factory.mktemp("clip")
    letters = [chr(code) for code in range(33, 127)]
    words = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    layers = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    last = len(words) - 1
    text = {"vocab_size": len(words), "bos_token_id": last - 1, "eos_token_id": last, "pad_token_id": last}
    vision = {"image_size": 32, "patch_size": 8}
    config = CLIPConfig(text_config={**layers, **text}, vision_config={**layers, **vision}, projection_dim=16)
    CLIPModel(config).save_pretrained(folder)
    images = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    tokenizer = CLIPTokenizer(vocab={word: number for number, word in enumerate(words)}, merges=[], model_max_length=77)
    CLIPProcessor(images, tokenizer).save_pretrained(folder)  # type: ignore[no-untyped-call]
    return folder


def _picture(path: Path, colour: str) -> str:
    Image.new("RGB", (48, 64), colour).save(path)
    return str(path)


def test_images_and_texts_stand_in_one_space(clip: Path, settings: Settings, tmp_path: Path) -> None:
    encoder = open_encoder(settings.model_copy(update={"device": "cpu"}), str(clip))
    assert isinstance(encoder, ImageEncoder)
    assert encoder.reads_images
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    red = Path(_picture(tmp_path / "red.png", "red"))
    positions, vectors = encoder.encode_images([broken, red, tmp_path / "absent.png"])
    assert positions == [1]
    assert (vectors**2).sum() == pytest.approx(1, abs=1e-5)
    assert encoder.encode(["long " * 500, "短い"]).shape == (2, vectors.shape[1])


def test_an_adapter_with_a_preview_is_placed_by_it(
    clip: Path, sqlite_database: Database, settings: Settings, tmp_path: Path
) -> None:
    mine = settings.model_copy(update={"embedding_model_artistic": str(clip), "device": "cpu"})
    red, blue = _picture(tmp_path / "red.png", "red"), _picture(tmp_path / "blue.png", "blue")
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    previews = [red, blue, None, str(broken), str(tmp_path / "absent.png")]
    same = {"trained_words": ["same"], "examples": []}
    library.fill(
        sqlite_database, *(library.adapter(pk, preview_path=path, **same) for pk, path in enumerate(previews, 1))
    )
    assert compute_embeddings(sqlite_database, mine, "artistic").changed == 5
    with sqlite_database.read() as connection:
        vectors = list(connection.execute(select(Embedding.embedding_data).order_by(Embedding.adapter_pk)).scalars())
    assert len({vectors[0], vectors[1], vectors[2]}) == 3
    # A preview that cannot be read leaves the words.
    assert vectors[2] == vectors[3] == vectors[4]
    compute_embeddings(sqlite_database, mine, "semantic")
    assert publish_index(sqlite_database, mine).manifest["dimension"] == 384 + 16
