"""The sample library is the same every time, sound where it says so, broken where it says so, and never in the way."""

import hashlib
import json
import re
from collections import Counter
from pathlib import Path

import pytest
from safetensors import SafetensorError, safe_open

from warehouse.safetensors import HeaderProblem, InspectionState, inspect_file
from warehouse.samples import MARKER, SampleError, SampleReport, SidecarFormat, generate_library


def digests(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> SampleReport:
    return generate_library(tmp_path_factory.mktemp("library") / "loras", adapters=200, seed=7)


def test_equal_arguments_give_equal_bytes(library: SampleReport, tmp_path: Path) -> None:
    again = generate_library(tmp_path / "again", adapters=200, seed=7)
    other = generate_library(tmp_path / "other", adapters=200, seed=8)
    assert digests(again.root) == digests(library.root)
    assert digests(other.root) != digests(library.root)
    assert (again.formats, again.broken) == (library.formats, library.broken)


def test_the_report_counts_what_is_there(library: SampleReport) -> None:
    files = [path for path in library.root.rglob("*") if path.is_file() and path.name != MARKER]
    assert len(files) == library.files
    assert sum(path.stat().st_size for path in files) == library.bytes
    assert library.adapters == sum(library.formats.values()) == 200
    assert set(library.formats) == set(SidecarFormat)
    assert all((library.root / path).is_file() for path in library.broken)


def test_every_weight_is_what_the_report_says(library: SampleReport) -> None:
    states: Counter[InspectionState] = Counter()
    problems: set[HeaderProblem] = set()
    for path in library.root.rglob("*.safetensors"):
        inspection = inspect_file(path)
        states[inspection.state] += 1
        try:
            with safe_open(path, "np") as reference:
                assert list(reference.keys())
                readable = True
        except (SafetensorError, OSError):
            readable = False
        assert readable == inspection.valid, path
        if inspection.problem:
            assert str(path.relative_to(library.root)) in library.broken
            problems.add(inspection.problem)
    assert states[InspectionState.valid] >= library.weights
    assert problems == {
        HeaderProblem.truncated_data,
        HeaderProblem.html_page,
        HeaderProblem.header_too_large,
        HeaderProblem.git_lfs_pointer,
        HeaderProblem.empty_file,
        HeaderProblem.overlap,
    }
    assert inspect_file(next(library.root.rglob("*.pt"))).problem is HeaderProblem.pickle


def test_headers_tell_the_base_model_that_documents_claim(library: SampleReport) -> None:
    agreed = total = 0
    for document in library.root.rglob("*.cm-info.json"):
        claimed = json.loads(document.read_text())
        weight = document.with_name(document.name.replace(".cm-info.json", ".safetensors"))
        inspection = inspect_file(weight)
        assert inspection.facts is not None
        assert inspection.hashes is not None
        assert inspection.hashes.sha256.upper() == claimed["Hashes"]["SHA256"]
        assert inspection.hashes.blake3.upper() == claimed["Hashes"]["BLAKE3"]
        total += 1
        agreed += inspection.facts.base_model == claimed["BaseModel"]
    assert total >= 5
    assert agreed / total > 0.5  # a file without training metadata cannot tell Pony from Illustrious


def test_duplicates_are_duplicates(library: SampleReport) -> None:
    by_what = {what: library.root / path for path, what in library.broken.items()}
    copy = inspect_file(by_what["the same file twice"]).hashes
    retitled = inspect_file(by_what["the same weights under another header"]).hashes
    others = [inspect_file(path).hashes for path in library.root.rglob("*.safetensors")]
    assert copy is not None
    assert retitled is not None
    assert sum(hashes is not None and hashes.sha256 == copy.sha256 for hashes in others) >= 2
    assert sum(hashes is not None and hashes.payload_sha256 == retitled.payload_sha256 for hashes in others) >= 2
    assert sum(hashes is not None and hashes.sha256 == retitled.sha256 for hashes in others) == 1


def test_broken_documents_are_broken_in_their_own_way(library: SampleReport) -> None:
    by_what = {what: (library.root / path).read_bytes() for path, what in library.broken.items()}
    with pytest.raises(json.JSONDecodeError):
        json.loads(by_what["JSON that breaks off"])
    assert by_what["a document in UTF-16"][:2] in (b"\xff\xfe", b"\xfe\xff")
    assert json.loads(by_what["a byte order mark before a sound document"].decode("utf-8-sig"))["modelId"]
    assert b":NaN" in by_what["NaN in a document"]
    assert by_what["a model that the site did not know"] == b"{}"
    assert json.loads(by_what["the document of a checkpoint"])["type"] == "Checkpoint"


def test_previews_are_pictures(library: SampleReport) -> None:
    png = next(library.root.rglob("*.png")).read_bytes()
    webp = next(library.root.rglob("*.webp")).read_bytes()
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    assert png.endswith(b"IEND\xaeB`\x82")
    assert (webp[:4], webp[8:16]) == (b"RIFF", b"WEBPVP8L")
    assert int.from_bytes(webp[4:8], "little") == len(webp) - 8


def test_documents_come_in_all_spellings(library: SampleReport) -> None:
    models = [json.loads(path.read_text()) for path in library.root.rglob("model_dict-*.json")]
    models += [
        item for path in (library.root / "pages").glob("*.json") for item in json.loads(path.read_text())["items"]
    ]
    assert {type(model["allowCommercialUse"]) for model in models} == {str, list}
    assert any("rating" in model["stats"] for model in models)
    assert any("thumbsUpCount" in model["stats"] for model in models)
    prompts = [
        image["meta"]["prompt"]
        for model in models
        for version in model["modelVersions"]
        for image in version["images"]
        if image["meta"]
    ]
    assert all(re.search(r"<lora:[a-z0-9_]+:[0-9.]+>", text) for text in prompts)


def test_names_are_unique_and_in_several_scripts(tmp_path: Path) -> None:
    report = generate_library(tmp_path / "x", adapters=3000, weights=False, broken=False, formats=[SidecarFormat.page])
    names = [
        item["name"] for path in report.root.rglob("models-*.json") for item in json.loads(path.read_text())["items"]
    ]
    assert len(names) == len(set(names)) == 3000
    assert any("提灯" in name or "港" in name for name in names)
    assert any("🌊" in name for name in names)


def test_themes_share_their_words_and_differ_from_each_other(library: SampleReport) -> None:
    tags: dict[str, set[str]] = {}
    for path in library.root.rglob("*.cm-info.json"):
        tags.setdefault(path.parent.name, set()).update(json.loads(path.read_text())["Tags"])
    assert len(tags) > 3
    for theme, words in tags.items():
        assert theme.replace("-", " ") in words


def test_without_weights_and_broken_ones_there_are_only_sound_documents(tmp_path: Path) -> None:
    report = generate_library(tmp_path / "x", adapters=60, weights=False, broken=False)
    assert report.weights == 0
    assert report.broken == {}
    assert not list(report.root.rglob("*.safetensors"))
    for path in report.root.rglob("*.json"):
        json.loads(path.read_text(encoding="utf-8"))


def test_an_empty_library_is_a_library(tmp_path: Path) -> None:
    assert generate_library(tmp_path / "x", adapters=0, broken=False).files == 0


def test_impossible_arguments_are_refused(tmp_path: Path) -> None:
    for arguments in ({"adapters": -1}, {"adapters": 1, "formats": []}):
        with pytest.raises(ValueError, match="sample library"):
            generate_library(tmp_path / "x", **arguments)
    assert not (tmp_path / "x").exists()


def test_a_folder_with_other_files_is_refused_untouched(tmp_path: Path) -> None:
    mine = tmp_path / "mine.safetensors"
    mine.write_bytes(b"precious")
    with pytest.raises(SampleError, match="empty folder"):
        generate_library(tmp_path, adapters=5)
    assert list(tmp_path.iterdir()) == [mine]
    assert mine.read_bytes() == b"precious"


def test_a_sample_of_other_parameters_is_refused(tmp_path: Path) -> None:
    generate_library(tmp_path / "x", adapters=5)
    before = digests(tmp_path / "x")
    with pytest.raises(SampleError, match="other parameters"):
        generate_library(tmp_path / "x", adapters=6)
    assert digests(tmp_path / "x") == before


def test_an_interrupted_run_is_completed_and_nothing_is_overwritten(tmp_path: Path) -> None:
    class Interrupted(Exception):  # noqa: N818
        pass

    def interrupt(done: int, _total: int) -> None:
        if done > 20:
            raise Interrupted

    root = tmp_path / "x"
    with pytest.raises(Interrupted):
        generate_library(root, adapters=60, progress=interrupt)
    edited = next(root.rglob("*.json"))
    edited.write_text("{}")
    generate_library(root, adapters=60)
    assert edited.read_text() == "{}"
    complete = generate_library(tmp_path / "y", adapters=60)
    assert set(digests(root)) == set(digests(complete.root))


def test_a_file_in_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("mine")
    with pytest.raises(SampleError, match="cannot be written"):
        generate_library(path, adapters=1)
    assert path.read_text() == "mine"


def test_progress_ends_at_the_wanted_number(tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    generate_library(tmp_path / "x", adapters=30, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (30, 30)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
