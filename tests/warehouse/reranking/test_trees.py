"""Trees that are asked all at once, against what walking them gives."""

import numpy as np

from warehouse.reranking.trees import LEAVES, Trees


def _trees(*nodes: tuple[int, float, int], values: list[float]) -> Trees:
    """One tree; each node says which number it looks at, its threshold, and which leaves are left above it."""
    shape = (LEAVES - 1, 1)
    features = np.zeros(shape, dtype=np.uint8)
    thresholds = np.full(shape, np.inf, dtype=np.float32)
    kept = np.full(shape, 0xFFFF, dtype=np.uint16)
    for place, (feature, threshold, bits) in enumerate(nodes):
        features[place], thresholds[place], kept[place] = feature, threshold, bits
    padded = np.array([values + [0.0] * (LEAVES - len(values))], dtype=np.float32)
    return Trees(features, thresholds, kept, padded)


def test_a_row_gets_the_value_of_its_leaf() -> None:
    # Of number 0 up to 1: leaf 0 or 1, by number 1; above: leaf 2.
    trees = _trees((0, 1.0, 0xFFFF & ~0b011), (1, 5.0, 0xFFFF & ~0b001), values=[10.0, 20.0, 30.0])
    rows = np.array([[0, 0], [0, 6], [2, 0], [2, 6], [1, 5]], dtype=np.float32)
    assert trees.scores(rows).tolist() == [10.0, 20.0, 30.0, 30.0, 10.0]


def test_a_tree_with_all_its_leaves_reaches_the_last_one() -> None:
    above = [(0, float(step), 0xFFFF & ~((2 << step) - 1)) for step in range(LEAVES - 1)]
    trees = _trees(*above, values=[float(leaf) for leaf in range(LEAVES)])
    rows = np.arange(-0.5, LEAVES - 1, 1.0, dtype=np.float32)[:, None]
    assert trees.scores(rows).tolist() == list(range(LEAVES))


def test_no_row_gives_no_score() -> None:
    assert _trees(values=[1.0]).scores(np.empty((0, 3), dtype=np.float32)).shape == (0,)
