"""Whether an encoder wins is told by models that it did not learn from."""

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.warehouse.tuning.conftest import MODELS
from warehouse.engine import Database
from warehouse.evaluation.metrics import Measure
from warehouse.evaluation.questions import Part, choose
from warehouse.ingest.progress import Silence
from warehouse.settings import Settings
from warehouse.tuning.comparing import Comparison, compare
from warehouse.tuning.examples import TUNED_SPACES
from warehouse.vectors.encoders import EncoderIdentity, Progress, shared_encoder


class FakeEncoder:
    """An encoder that understands the authors' own words and nothing else; a misled one takes the words of prompts for
    those of another author."""

    def __init__(self, *, misled: bool) -> None:
        self._misled = misled
        self._calls = 0
        self.identity = EncoderIdentity("fake", f"{misled:024}", "fake", "fp32", "cpu", 384)

    def encode(self, texts: Sequence[str], progress: Progress | None = None) -> NDArray[np.float32]:
        self._calls += 1
        # The adapters come first, a space at a time; then they are asked for.
        by = 1 if self._misled and self._calls > len(TUNED_SPACES) else 0
        rows = np.zeros((len(texts), 384), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            known = [n for n in range(MODELS) if f"qz{n}ori" in text or f"Style {n}." in text]
            row[1 + (known[0] + by) % MODELS if known else 0] = 1
        return rows


@pytest.mark.parametrize("misled", [False, True])
def test_what_finds_more_wins_and_what_finds_less_does_not(library: Database, settings: Settings, misled: bool) -> None:
    with library.read() as connection:
        questions = choose(connection, 40, part=Part.MEASURED)
        found = compare(connection, settings, FakeEncoder(misled=misled), questions, Silence())
    assert (found.questions, found.adapters) == (40, MODELS)
    assert (found.gain.value > 0) is not misled
    assert found.wins is not misled
    assert found.as_manifest()["wins"] is not misled


def test_the_encoder_in_use_is_no_better_than_itself(library: Database, settings: Settings) -> None:
    encoder = shared_encoder(settings, settings.embedding_model_semantic)
    with library.read() as connection:
        questions = choose(connection, 20, part=Part.MEASURED)
        found = compare(connection, settings, encoder, questions, Silence())
    # Stored vectors are of half precision.
    assert found.gain.value == pytest.approx(0, abs=0.02)
    assert not found.wins
    assert found.alike[0] == pytest.approx(found.alike[1], abs=0.02)


@pytest.mark.parametrize(
    ("gain", "as_served", "alike", "wins"),
    [
        ((0.01, 0.05, 0.09), 0.0, (0.5, 0.5), True),
        ((-0.01, 0.05, 0.09), 0.05, (0.5, 0.5), False),
        ((0.01, 0.05, 0.09), -0.02, (0.5, 0.5), False),
        ((0.01, 0.05, 0.09), 0.0, (0.5, 0.4), False),
    ],
    ids=["better", "by chance", "worse as served", "neighbours lost"],
)
def test_what_decides(
    gain: tuple[float, float, float], as_served: float, alike: tuple[float, float], wins: bool
) -> None:
    low, value, high = gain
    served = Measure(as_served, as_served, as_served)
    assert Comparison(100, 100, {}, {}, Measure(value, low, high), served, alike).wins is wins
