"""The benchmark set: as many documents as asked for, like the site's in size, the same every time."""

import json
import statistics
from pathlib import Path

import pytest

from warehouse.samples import SampleError, generate_documents


def test_documents_are_many_alike_in_size_to_real_ones_and_reproducible(tmp_path: Path) -> None:
    size = generate_documents(tmp_path / "a", documents=1500, seed=3)
    assert generate_documents(tmp_path / "b", documents=1500, seed=3) == size
    files = sorted((tmp_path / "a").rglob("*/*.json"))
    assert len(files) == 1500
    assert sum(path.stat().st_size for path in files) == size
    sizes = sorted(path.stat().st_size for path in files)
    assert 6_000 < statistics.median(sizes) < 12_000
    assert sizes[-15] > 25_000
    first = files[0]
    assert first.read_bytes() == (tmp_path / "b" / first.relative_to(tmp_path / "a")).read_bytes()
    document = json.loads(first.read_text())
    assert document["type"] == "LORA"
    assert document["modelVersions"][0]["files"][0]["hashes"]["SHA256"]


def test_no_two_documents_share_an_id(tmp_path: Path) -> None:
    generate_documents(tmp_path / "a", documents=500)
    documents = [json.loads(path.read_text()) for path in (tmp_path / "a").rglob("*/*.json")]
    versions = [version["id"] for document in documents for version in document["modelVersions"]]
    assert len({document["id"] for document in documents}) == 500
    assert len(set(versions)) == len(versions)


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.json").write_text("{}")
    with pytest.raises(SampleError):
        generate_documents(tmp_path, documents=1)
