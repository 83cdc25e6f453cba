"""Previews are bounded, and show what is in the data as it is."""

import base64
import re
from xml.etree import ElementTree

from hypothesis import given
from hypothesis import strategies as st

from pipelines import previews


def _svg(markdown: str) -> str:
    found = re.search(r"data:image/svg\+xml;base64,([^)]+)\)", markdown)
    assert found is not None
    return base64.b64decode(found[1]).decode()


def test_table_shows_numbers_lists_and_missing_values() -> None:
    text = previews.table([{"name": "a", "n": 1234, "share": 0.5, "words": ["x", "y"], "gone": None, "ok": True}])
    assert text.splitlines()[2] == "| a | 1,234 | 0.5 | x, y | – | yes |"


def test_table_shows_markup_in_names_as_it_is() -> None:
    line = previews.table([{"name": "a|b <b>*c*\nd"}]).splitlines()[2]
    assert line == "| a\\|b &lt;b&gt;\\*c\\* d |"


def test_table_without_rows_says_so() -> None:
    assert previews.table([]) == "*nothing yet*"


def test_table_that_is_too_long_is_cut_and_says_how_much() -> None:
    text = previews.table([{"name": f"{number}" + "ü" * 70} for number in range(5_000)])
    assert len(text.encode()) < previews.MAX_BYTES
    assert re.search(r"and [\d,]+ more", text)


@given(st.dictionaries(st.text(max_size=200), st.integers(0, 10**12), max_size=40))
def test_bars_are_well_formed_whatever_the_names(values: dict[str, int]) -> None:
    markdown = previews.bars(values, title="t")
    assert len(markdown.encode()) < previews.MAX_BYTES
    if any(values.values()):
        ElementTree.fromstring(_svg(markdown))


def test_bars_sum_what_is_not_shown() -> None:
    svg = _svg(previews.bars({f"m{number}": 1 for number in range(15)}, title="t", limit=12))
    assert "other (3)" in svg


def test_histogram_counts_the_ends_too() -> None:
    svg = _svg(previews.histogram([0.0, 1.0, 1.0, 0.5], title="t", bins=2))
    heights = [int(height) for height in re.findall(r'height="(\d+)" fill', svg)]
    assert heights == [27, 80]


def test_join_leaves_out_what_does_not_fit_and_says_so() -> None:
    joined = previews.join("a", "", "x" * previews.MAX_BYTES, "b")
    assert joined == "a\n\n*left out: too large for a preview*"
