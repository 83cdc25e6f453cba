"""Parameters of a delivery are found wherever clients put them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.delivery_parameters import MAX_DEPTH, DeliveryError, delivery_parameters

KEYS = st.text(min_size=1, max_size=8).filter(lambda key: key not in ("mode", "params", "http") and key.isprintable())
PARAMETERS = st.dictionaries(KEYS, st.one_of(st.integers(), st.booleans(), st.lists(st.integers(), max_size=2)))


@given(PARAMETERS)
def test_the_three_forms_mean_the_same(parameters: dict[str, Any]) -> None:
    for delivery in (
        {"mode": "http", **parameters},
        {"mode": "http", "params": parameters},
        {"mode": "http", "http": parameters},
    ):
        assert delivery_parameters(delivery) == ("http", parameters)


@pytest.mark.parametrize(
    ("delivery", "expected"),
    [
        ({"mode": "cli"}, ("cli", {})),
        ({"mode": "http", "url": "u", "params": {"timeout": 3}, "http": {"url": "u"}}, None),
        ({"mode": "http", "params": None, "http": {"url": "u"}, "cli": None}, ("http", {"url": "u"})),
        ({"mode": "params", "params": {"a": 1}}, ("params", {"a": 1})),
        ({"mode": "mode", "a": 1}, ("mode", {"a": 1})),
        ({"mode": "sdnext", "params": {"eta": None, "text": "\\u0000"}}, ("sdnext", {"eta": None, "text": "\\u0000"})),
    ],
)
def test_forms_can_be_mixed(delivery: dict[str, Any], expected: tuple[str, dict[str, Any]] | None) -> None:
    assert delivery_parameters(delivery) == (expected or ("http", {"url": "u", "timeout": 3}))


def _nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("delivery", "loc"),
    [
        ({"mode": "http", "params": "url"}, ("params",)),
        ({"mode": "http", "http": "url"}, ("http",)),
        ({"mode": "http", "url": "a", "params": {"url": "b"}}, ("params", "url")),
        ({"mode": "http", "params": {"url": "b"}, "http": {"url": "a"}}, ("http", "url")),
        ({"mode": "http", "url": "a\x00"}, ()),
        ({"mode": "http", "url": "\ud800"}, ()),
        ({"mode": "http", "\udfff": 1}, ()),
        ({"mode": "http", "params": {"a": [{"b": float("nan")}]}}, ()),
        ({"mode": "http", "params": {"a": _nested(MAX_DEPTH + 1)}}, ()),
    ],
)
def test_what_cannot_be_understood_is_refused(delivery: dict[str, Any], loc: tuple[str, ...]) -> None:
    with pytest.raises(DeliveryError) as caught:
        delivery_parameters(delivery)
    assert caught.value.loc == loc
