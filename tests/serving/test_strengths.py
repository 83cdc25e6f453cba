"""The words of a suggested weight."""

from typing import Any

import pytest

from serving.strengths import suggested

EXAMPLES = {"count": 24, "median": 0.7, "low": 0.6, "high": 0.8}


@pytest.mark.parametrize(
    ("known", "weight", "evidence", "count", "low", "high"),
    [
        (EXAMPLES, 0.7, "median 0.7 in 24 example images", 24, 0.6, 0.8),
        (
            {**EXAMPLES, "preferred": 1.0},
            0.7,
            "median 0.7 in 24 example images; its metadata prefers 1",
            24,
            0.6,
            0.8,
        ),
        (
            {"count": 1, "median": 0.65, "low": 0.65, "high": 0.65},
            0.65,
            "0.65 in 1 example image",
            1,
            0.65,
            0.65,
        ),
        ({"preferred": 0.85}, 0.85, "the preferred weight of its metadata", 0, None, None),
    ],
)
def test_a_weight_comes_with_its_evidence(
    known: dict[str, Any], weight: float, evidence: str, count: int, low: float | None, high: float | None
) -> None:
    expected = {"suggested_weight": weight, "evidence": evidence, "count": count, "low": low, "high": high}
    assert suggested(known) == expected


@pytest.mark.parametrize("known", [None, {}])
def test_what_nothing_tells_is_null(known: dict[str, Any] | None) -> None:
    assert suggested(known) is None
