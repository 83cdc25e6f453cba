"""Previews for the asset pages: Markdown tables and small plots, each bounded, because every one is stored.

Belongs here: turning rows and numbers into Markdown. Does not: the queries that fetch them (`assets`).
"""

import base64
import html
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

MAX_BYTES = 50_000
"""A preview is a row of Dagster's event log: this is its limit."""

_MAX_CELL = 80
"""Characters of a cell, where a table shows samples; a table of complaints takes more, for paths must be whole."""

_BAR_WIDTH, _BAR_HEIGHT, _LABEL_WIDTH = 300, 18, 150
_INK, _FILL = "#6b7280", "#4f46e5"
"""Grey and indigo that are readable on Dagster's light and dark theme."""


def _number(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3f}".rstrip("0").rstrip(".")


def _printable(text: str) -> str:
    """Without control characters and lone surrogates, which neither SVG nor the event log can hold."""
    return "".join(character if character.isprintable() else " " for character in text)


def _cell(value: Any, widest: int) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (int, float)):
        return _number(value)
    if isinstance(value, (list, tuple)):
        value = ", ".join(str(item) for item in value)
    text = " ".join(_printable(str(value)).split())
    if len(text) > widest:
        text = text[: widest - 1] + "…"
    # Names come from the wild: what Markdown or HTML would interpret is shown as it is.
    for character in "\\`*_[]|~#":
        text = text.replace(character, "\\" + character)
    return html.escape(text, quote=False)


def table(rows: Iterable[Mapping[str, Any]], columns: Sequence[str] | None = None, *, widest: int = _MAX_CELL) -> str:
    """A Markdown table of rows, cut where it would exceed the limit; says so when it was cut.

    Args:
        rows: mappings from column to value; long texts are shortened, lists joined.
        columns: which columns, in which order; None takes those of the first row.
        widest: characters that a cell may have before it is shortened.
    """
    rows = list(rows)
    if not rows:
        return "*nothing yet*"
    names = list(columns or rows[0])
    lines = [f"| {' | '.join(names)} |", f"|{'---|' * len(names)}"]
    size = sum(map(len, lines))
    for position, row in enumerate(rows):
        line = f"| {' | '.join(_cell(row.get(name), widest) for name in names)} |"
        size += len(line.encode()) + 1
        if size > MAX_BYTES // 2:
            lines.append(f"\n*and {len(rows) - position:,} more*")
            break
        lines.append(line)
    return "\n".join(lines)


def bars(values: Mapping[str, float], *, title: str, limit: int = 12) -> str:
    """A picture of a horizontal bar per entry, largest first, as Markdown; the rest summed as "other".

    Drawn by hand as SVG: 2 kB, no plotting library in a run that lasts a second.
    """
    ranked = sorted(((name, value) for name, value in values.items() if value), key=lambda entry: -entry[1])
    if not ranked:
        return ""
    shown = ranked[:limit]
    if len(ranked) > limit:
        shown.append((f"other ({len(ranked) - limit})", sum(value for _, value in ranked[limit:])))
    largest = max(value for _, value in shown)
    parts = []
    for position, (name, value) in enumerate(shown):
        y = position * _BAR_HEIGHT
        label = _printable(name if len(name) <= 22 else name[:21] + "…")
        width = max(1, round(_BAR_WIDTH * value / largest))
        parts.append(
            f'<text x="{_LABEL_WIDTH - 6}" y="{y + 13}" text-anchor="end">{html.escape(label)}</text>'
            f'<rect x="{_LABEL_WIDTH}" y="{y + 3}" width="{width}" height="{_BAR_HEIGHT - 6}" rx="2" fill="{_FILL}"/>'
            f'<text x="{_LABEL_WIDTH + width + 6}" y="{y + 13}">{_number(value)}</text>'
        )
    return _picture(_LABEL_WIDTH + _BAR_WIDTH + 80, len(shown) * _BAR_HEIGHT, "".join(parts), title)


def histogram(values: Sequence[float], *, title: str, low: float = 0.0, high: float = 1.0, bins: int = 20) -> str:
    """A picture of how values between `low` and `high` are distributed, as Markdown."""
    if not values:
        return ""
    counts = [0] * bins
    for value in values:
        counts[min(bins - 1, max(0, int((value - low) / (high - low) * bins)))] += 1
    height, width, largest = 80, 18, max(counts)
    parts = [
        f'<rect x="{position * width + 1}" y="{height - round(height * count / largest)}" width="{width - 2}" '
        f'height="{round(height * count / largest)}" fill="{_FILL}"/>'
        for position, count in enumerate(counts)
    ]
    parts.append(f'<text x="0" y="{height + 14}">{low:g}</text>')
    parts.append(f'<text x="{bins * width}" y="{height + 14}" text-anchor="end">{high:g}</text>')
    return _picture(bins * width, height + 18, "".join(parts), title)


def join(*parts: str) -> str:
    """Several previews under each other, without the empty ones; what no longer fits is left out, and said."""
    kept: list[str] = []
    size = 0
    for part in filter(None, parts):
        size += len(part.encode()) + 2
        if size > MAX_BYTES:
            kept.append("*left out: too large for a preview*")
            break
        kept.append(part)
    return "\n\n".join(kept)


def _picture(width: int, height: int, content: str, title: str) -> str:
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'font-family="system-ui, sans-serif" font-size="11" fill="{_INK}">{content}</svg>'
    )
    return f"**{title}**\n\n![{title}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"
