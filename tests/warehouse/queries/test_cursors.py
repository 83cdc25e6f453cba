"""Cursors: what was given out comes back, anything else is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warehouse.queries import cursors

LISTING = cursors.listing_digest("name", True)


@given(
    rank=st.integers(0, 2**40),
    pk=st.integers(1, 2**62),
    value=st.one_of(
        st.none(),
        st.text(st.characters(exclude_categories=["Cs"])),
        st.integers(-(2**62), 2**62),
        st.floats(allow_nan=False, allow_infinity=False),
    ),
)
def test_a_position_comes_back_as_it_was(rank: int, pk: int, value: str | int | float | None) -> None:
    position = cursors.Position(LISTING, rank, pk, value)
    assert cursors.decode(cursors.encode(position), LISTING) == position


@given(st.text())
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(cursors.CursorError):
        cursors.decode(text, LISTING)


def test_every_altered_character_is_noticed() -> None:
    text = cursors.encode(cursors.Position(LISTING, 100, 7, "Ink Dragon"))
    for position, character in enumerate(text):
        other = "A" if character != "A" else "B"
        with pytest.raises(cursors.CursorError):
            cursors.decode(text[:position] + other + text[position + 1 :], LISTING)


def test_a_cursor_of_another_list_is_refused() -> None:
    text = cursors.encode(cursors.Position(LISTING, 100, 7, "Ink Dragon"))
    with pytest.raises(cursors.CursorError, match="another list"):
        cursors.decode(text, cursors.listing_digest("name", False))
