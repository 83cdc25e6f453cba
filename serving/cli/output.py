"""How answers reach a person or a program: tables on a terminal, plain untruncated lines elsewhere, JSON on demand.

Names and texts come from documents of strangers, so nothing is printed before its control characters are gone: an
escape sequence in an adapter's name must not move anybody's cursor. JSON carries them escaped, and CSV as they are
where it goes to a program.
"""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

_CONTROLS = dict.fromkeys((*range(32), *range(127, 160)), "�") | {
    ord("\t"): " ",
    ord("\n"): " ",
    ord("\r"): " ",
}
_ESCAPED = {code: f"\\u{code:04x}" for code in range(127, 160)}
"""The control characters that `json` leaves as they are: U+009B begins an escape sequence, too."""


def printable(value: object) -> str:
    """A value as one line without control characters; None is the empty text."""
    return "" if value is None else str(value).translate(_CONTROLS)


def on_terminal() -> bool:
    """Whether somebody looks at the standard output."""
    return sys.stdout.isatty()


def console(*, stderr: bool = False) -> "Console":
    """A Rich console that neither guesses highlights nor reads markup out of data."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)


def note(message: str) -> None:
    """A line about the work itself; it goes to standard error, so that pipes carry only answers."""
    print(message, file=sys.stderr, flush=True)


def show_json(value: Any) -> None:
    """A value as JSON, indented for people; times and paths as text."""
    print(json.dumps(value, indent=2, ensure_ascii=False, default=str).translate(_ESCAPED))


def show_table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str | None = None) -> None:
    """Rows under a header: a table on a terminal, else one line per row with tabs between the values."""
    if not on_terminal():
        print("\t".join(columns))
        for row in rows:
            print("\t".join(printable(value) for value in row))
        return
    from rich.table import Table

    table = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    for position, column in enumerate(columns):
        table.add_column(column, overflow="fold", ratio=None, no_wrap=False, style="cyan" if position == 0 else None)
    for row in rows:
        table.add_row(*(printable(value) for value in row))
    console().print(table)


def show_facts(facts: Iterable[tuple[str, object]], *, title: str | None = None) -> None:
    """Names with their values, one a line."""
    pairs = [(name, printable(value)) for name, value in facts]
    width = max((len(name) for name, _ in pairs), default=0)
    if title:
        print(title)
    for name, value in pairs:
        print(f"  {name:<{width}}  {value}")


def bytes_text(count: float) -> str:
    """A number of bytes in the unit in which a person reads it."""
    for unit in ("B", "KiB", "MiB", "GiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TiB"
