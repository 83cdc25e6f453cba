"""The reference of the marts in `docs/analytics.md`, written from the declarations.

Does not belong here: the rest of that page, which is written by hand around the generated section.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from warehouse.marts.aggregates import AGGREGATES
from warehouse.marts.declaration import Mart
from warehouse.marts.facts import FACTS

BEGIN: Final = "<!-- reference: written by `python -m warehouse.marts.reference docs/analytics.md` -->"
END: Final = "<!-- end of reference -->"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _section(mart: Mart) -> list[str]:
    return [
        f"#### `{mart.name}`",
        "",
        f"{mart.description} One row per {mart.grain}.",
        "",
        "| Column | Type | Meaning |",
        "| --- | --- | --- |",
        *(f"| `{column.name}` | `{column.type}` | {_cell(column.description)} |" for column in mart.columns),
        "",
    ]


def render() -> str:
    """The reference of every mart in Markdown, between its markers."""
    parts: Sequence[tuple[str, Sequence[Mart]]] = (("Facts", FACTS), ("Aggregates", AGGREGATES))
    lines = [BEGIN, ""]
    for title, marts in parts:
        lines += [f"### {title}", ""]
        for mart in marts:
            lines += _section(mart)
    return "\n".join([*lines, END])


def replace_section(page: str) -> str:
    """The page with its reference made anew.

    Raises:
        ValueError: the page has no markers.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page lacks the lines {BEGIN!r} and {END!r}")
    return before + render() + after


def main(arguments: Sequence[str]) -> None:
    """`python -m warehouse.marts.reference PAGE`: write the reference into the page that the only argument names."""
    if len(arguments) != 1:
        sys.exit("usage: python -m warehouse.marts.reference docs/analytics.md")
    path = Path(arguments[0])
    path.write_text(replace_section(path.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
