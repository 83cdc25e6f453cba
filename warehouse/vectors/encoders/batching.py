"""Batches: equal texts once, sorted by length, padded to the batch, as many tokens each as a core's cache likes.

Pure. Does not belong here: tokenizers and models.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence


def unique_texts(texts: Sequence[str]) -> tuple[list[str], list[int]]:
    """The distinct texts in order of appearance, and for each text the position of its distinct one.

    White space around a text is dropped, as sentence-transformers does; what UTF-8 cannot say becomes a question mark.
    """
    positions: dict[str, int] = {}
    clean = (text.encode("utf-8", "replace").decode("utf-8").strip() for text in texts)
    places = [positions.setdefault(text, len(positions)) for text in clean]
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
