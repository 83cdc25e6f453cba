"""Figures of ranks, against values worked out by hand."""

import math

import pytest

from warehouse.evaluation.metrics import measure


def test_figures_of_known_ranks() -> None:
    found = measure([1, 2, 11, None], ["a", "b", "c", "d"])
    assert found.queries == 4
    assert found.recall_at_1.value == pytest.approx(1 / 4)
    assert found.recall_at_10.value == pytest.approx(2 / 4)
    assert found.mrr.value == pytest.approx((1 + 1 / 2 + 1 / 11) / 4)
    assert found.ndcg_at_10.value == pytest.approx((1 + 1 / math.log2(3)) / 4)


def test_an_interval_holds_its_mean_and_narrows_with_more_models() -> None:
    few = measure([1, None] * 10, [str(number) for number in range(20)]).recall_at_10
    many = measure([1, None] * 500, [str(number) for number in range(1_000)]).recall_at_10
    for found in (few, many):
        assert found.low < found.value < found.high
    assert many.high - many.low < few.high - few.low


def test_prompts_of_one_model_count_as_one_witness() -> None:
    ranks = [1, None] * 50
    apart = measure(ranks, [str(number) for number in range(100)]).recall_at_10
    # Fifty prompts each of two models, one always found and the other never.
    together = measure(ranks, ["found", "missed"] * 50).recall_at_10
    assert together.high - together.low > 3 * (apart.high - apart.low)


def test_without_queries_there_is_nothing_to_say() -> None:
    assert measure([], []).recall_at_10.value == 0.0
