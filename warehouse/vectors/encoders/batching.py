"""Batches: equal texts once, sorted by length, padded to the batch, as many tokens each as a core's cache likes.

Pure. Does not belong here: tokenizers and models.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def unique_texts(texts: Sequence[str]) -> tuple[list[str], list[int]]:
    """The distinct texts in order of appearance, and for each text the position of its distinct one."""
    positions: dict[str, int] = {}
    places = [positions.setdefault(text, len(positions)) for text in texts]
    return list(positions), places


def length_batches(lengths: Sequence[int], *, token_budget: int) -> Iterator[list[int]]:
    """Positions, longest first, in batches of at most `token_budget` tokens counting padding, and at least one text."""
    order = sorted(range(len(lengths)), key=lambda position: -lengths[position])
    start = 0
    while start < len(order):
        longest = max(1, lengths[order[start]])
        size = max(1, token_budget // longest)
        yield order[start : start + size]
        start += size
