"""What words are worth beside a similarity. Pure: numbers in, numbers out."""

import math

SCALE = 4.0
"""Nats of evidence that make up for a similarity 1 − 1/e higher: learned with the weights of the fields."""


def evidence(score: float) -> float:
    """What a score of the word index is worth, 0..1: the chance that is left, 1 − evidence, halves with every few terms
    that are shared, so that it goes with 1 − similarity as factors of one product."""
    return 1.0 - math.exp(-max(0.0, score) / SCALE)
