"""The rows of numbers that trees look at."""

import math
from dataclasses import replace

import numpy as np
import pytest

from warehouse.lexical import index
from warehouse.reranking import features
from warehouse.reranking.features import NOTHING_IN_WORDS, Candidate

BEST = Candidate(0.5, (0.6, 0.4, 0.1), 3.0, (4.0, 0.0, 1.0, 2.0, 0.0, 0.0), 7, "brush", "model:1")
OTHER = Candidate(0.2, (0.2, 0.2, 0.3), 0.0, NOTHING_IN_WORDS, 0, None, "model:2")
WIDTH = 1 + len(index.WEIGHTS) + 3


def test_evidence_is_there_as_it_is_and_as_what_it_lacks_to_the_best() -> None:
    rows = features.matrix([BEST, OTHER], words=5, adapters=1_000)
    assert rows.shape == (2, features.WIDTH)
    assert rows.dtype == np.float32
    assert rows[0, 1] == pytest.approx(4.0 / math.log1p(1_000))
    assert rows[:, 1 + len(index.WEIGHTS) : WIDTH].tolist() == pytest.approx(
        np.array([[0.6, 0.4, 0.1], [0.2, 0.2, 0.3]])
    )
    assert rows[:, WIDTH : 2 * WIDTH] == pytest.approx(rows[:, :WIDTH] - rows[:, :WIDTH].max(axis=0))
    assert rows[:, -2].tolist() == pytest.approx([math.log(8), 0.0])
    assert rows[:, -1].tolist() == [5.0, 5.0]


def test_similarity_and_words_together_are_the_first_number() -> None:
    rows = features.matrix([BEST, OTHER], words=5, adapters=1_000)
    # −log of what each lacks to 1, summed; SCALE is the score whose evidence is worth 1.
    assert rows[0, 0] == pytest.approx(-math.log(0.5) + 3.0 / 2.8, rel=1e-5)
    assert rows[1, 0] == pytest.approx(-math.log(0.8), rel=1e-5)


def test_other_models_of_an_author_speak_for_each_other_and_versions_of_one_do_not() -> None:
    version = replace(OTHER, author="brush", model="model:1")
    another = replace(OTHER, author="brush", model="model:3")
    stranger = replace(OTHER, author=None, model="model:4")
    rows = features.matrix([BEST, version, another, stranger], words=5, adapters=1_000)
    assert rows[:, -3].tolist() == pytest.approx([rows[2, 0], rows[2, 0], rows[0, 0], 0.0])


def test_words_count_the_same_in_a_library_of_any_size() -> None:
    small = features.matrix([BEST], words=5, adapters=1_000)
    rarer = replace(BEST, by_field=tuple(2 * score for score in BEST.by_field))
    large = features.matrix([rarer], words=5, adapters=1_002_000)
    assert large[0, 1 : 1 + len(index.WEIGHTS)] == pytest.approx(small[0, 1 : 1 + len(index.WEIGHTS)], rel=1e-3)
