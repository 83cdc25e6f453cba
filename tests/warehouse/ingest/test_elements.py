import pytest

from warehouse.ingest.elements import PREVIEW_SUFFIXES, ElementKind, civitdl_key, classify, is_foreign_folder


@pytest.mark.parametrize(
    ("name", "kind", "stem"),
    [
        ("Harrlogos_v2.0.safetensors", "weight", "Harrlogos_v2.0"),
        ("A.SAFETENSORS", "weight", "A"),
        ("old.pt", "weight", "old"),
        ("Harrlogos_v2.0.json", "document", "Harrlogos_v2.0"),
        ("a.civitai.info", "document", "a"),
        ("a.Civitai.Info", "document", "a"),
        ("a.cm-info.json", "document", "a"),
        ("a.metadata.json", "document", "a"),
        ("a.swarm.json", "document", "a"),
        ("a.api_info.json", "document", "a"),
        ("a.safetensors.rgthree-info.json", "document", "a"),
        ("a.rgthree-info.json", "document", "a"),
        ("a.info", "document", "a"),
        ("星 ✨.v1.json", "document", "星 ✨.v1"),
        ("a.preview.png", "preview", "a"),
        ("a.thumb.JPG", "preview", "a"),
        ("a.example.0.jpeg", "preview", "a"),
        ("a.b.webm", "preview", "a.b"),
    ],
)
def test_what_a_name_stands_for(name: str, kind: str, stem: str) -> None:
    element = classify(name)
    assert element is not None
    assert (element.kind, element.stem) == (ElementKind(kind), stem)


@pytest.mark.parametrize("name", [".hidden.json", "readme.md", "a.txt", "json", ".safetensors", "a.safetensors.part"])
def test_other_files_are_nothing(name: str) -> None:
    assert classify(name) is None


def test_previews_come_in_the_order_of_the_tools() -> None:
    ranks = [classify(f"a{suffix}") for suffix in PREVIEW_SUFFIXES]
    assert [element.rank for element in ranks if element is not None] == list(range(len(PREVIEW_SUFFIXES)))


def test_folders_that_hold_no_library() -> None:
    assert all(is_foreign_folder(name) for name in (".git", "__pycache__", "@eaDir", "$RECYCLE.BIN"))
    assert not is_foreign_folder("loras")


def test_a_document_of_civitdl_finds_the_weight_one_folder_up() -> None:
    weight = civitdl_key("/l", "Name-mid_5-vid_7.safetensors", ElementKind.WEIGHT)
    document = civitdl_key("/l/extra_data-vid_7", "model_dict-mid_5-vid_7.json", ElementKind.DOCUMENT)
    assert weight == document
    assert weight is not None
    assert civitdl_key("/l/other", "model_dict-mid_5-vid_7.json", ElementKind.DOCUMENT) is None
    assert civitdl_key("/l", "Name-mid_5-vid_7.json", ElementKind.DOCUMENT) is None
