"""What an adapter adds: plain cases, and accuracy and calibration against records labelled by hand."""

import hashlib
import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warehouse.civitai import html_to_text, read_document, sanitise_html
from warehouse.civitai.archetype import Archetype, Evidence, _tokens, classify

LABELS = Path(__file__).with_name("archetype_labels.json")
BINS = 10


@pytest.mark.parametrize(
    ("evidence", "archetype"),
    [
        (
            Evidence(name="Mori | Night Market", tags=("character", "anime"), trained_words=("mori, red hair",)),
            "character",
        ),
        (Evidence(name="Ink Wash Style", tags=("style", "ink")), "style"),
        (Evidence(name="Winter Coat", tags=("clothing", "fashion")), "clothing"),
        (Evidence(name="Abandoned Station", tags=("background", "scenery")), "background"),
        (Evidence(name="Antique Sword", tags=("objects", "weapon")), "object"),
        (Evidence(name="Steam Locomotive", tags=("vehicle", "train")), "vehicle"),
        (Evidence(name="Long-haired Cat", tags=("animal", "cats")), "animal"),
        (Evidence(name="Peace Sign | Pose", tags=("poses",)), "pose"),
        (Evidence(name="Detail Slider", tags=("tool",)), "tool"),
        (Evidence(name="Hair made of water", tags=("concept", "hair")), "concept"),
        (Evidence(name="夜の背景", tags=()), "background"),
    ],
)
def test_plain_cases(evidence: Evidence, archetype: str) -> None:
    found, confidence = classify(evidence)
    assert found == archetype
    assert confidence is not None
    assert 0.3 < confidence <= 1.0


def test_no_evidence_is_no_answer() -> None:
    assert classify(Evidence(name="xq7")) == (None, None)


def test_more_evidence_makes_more_sure() -> None:
    little = classify(Evidence(name="Coat"))[1] or 0.0
    much = classify(Evidence(name="Winter Coat", tags=("clothing", "fashion"), trained_words=("wearing a coat",)))[1]
    assert (much or 0.0) > little


def test_the_content_can_outweigh_the_category() -> None:
    assert classify(Evidence(name="For the Winter Dress", tags=("style", "dress", "fashion")))[0] == "clothing"


def _labelled(corpus: Path) -> list[tuple[str, float, bool]]:
    """(archetype, confidence, right) of the half that no weight was fitted on."""
    labels: dict[str, str] = json.loads(LABELS.read_text())
    assert set(labels.values()) <= {archetype.value for archetype in Archetype}
    rows = []
    for path in (corpus / "api_model").iterdir():
        number = path.name.split("_")[0]
        if number not in labels or not int(hashlib.sha256(number.encode()).hexdigest(), 16) % 2:
            continue
        record = read_document(path.read_bytes(), file_name=path.name).records[0]
        model, version = record.model, record.version
        assert version is not None
        cleaned = sanitise_html(model.description or "")
        found, confidence = classify(
            Evidence(
                name=model.name or "",
                version=version.name,
                tags=model.tags,
                trained_words=version.trained_words,
                description=html_to_text(cleaned) if cleaned else None,
            )
        )
        rows.append((found or "", confidence or 0.0, found == labels[number]))
    return rows


def test_accuracy_and_calibration_on_the_held_out_half(corpus: Path) -> None:
    rows = _labelled(corpus)
    assert len(rows) > 100
    accuracy = sum(right for _, _, right in rows) / len(rows)
    error = 0.0
    for number in range(BINS):
        bin_rows = [row for row in rows if number / BINS < row[1] <= (number + 1) / BINS]
        if bin_rows:
            confidence = sum(row[1] for row in bin_rows) / len(bin_rows)
            hits = sum(row[2] for row in bin_rows) / len(bin_rows)
            error += abs(confidence - hits) * len(bin_rows) / len(rows)
    print(f"archetype: accuracy {accuracy:.3f}, expected calibration error {error:.3f}, n = {len(rows)}")
    assert accuracy >= 0.82
    assert error <= 0.09


@given(st.text("ab9-_ .\n\x1f") | st.text())
def test_tokens_are_those_of_the_pattern(text: str) -> None:
    assert _tokens(text.casefold()) == re.findall(r"[^\W_]+(?:-[^\W_]+)*", text.casefold())
