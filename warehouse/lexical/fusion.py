"""What words are worth beside a similarity. Pure: numbers in, numbers out."""

import math

SCALE = 2.8
"""The score that weighs as much as a similarity of 1 − 1/e: the unit in which the weights of the fields are learned."""

NEAR, FOUND, DEEP = 16, 32, 100
"""Candidates for a prompt: the nearest by vectors, the best by words, and how far down the words' scores are known.

More of either changed recall@10 of the measured half of the corpus by less than 0.003.
"""


def evidence(score: float) -> float:
    """What a score of the word index is worth, 0..1: with every few terms that are shared, what lacks to 1 halves."""
    return 1.0 - math.exp(-max(0.0, score) / SCALE)


def combined(*parts: float) -> float:
    """Several parts of evidence in 0..1 as one: each raises it, none beyond 1."""
    return 1.0 - math.prod(1.0 - part for part in parts)
