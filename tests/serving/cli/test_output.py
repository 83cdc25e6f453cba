"""What is printed of strangers' texts."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.cli.output import bytes_text, printable, show_json, show_table


@given(st.text())
def test_nothing_printed_controls_a_terminal(text: str) -> None:
    assert all(ord(character) >= 0x20 and not 0x7F <= ord(character) < 0xA0 for character in printable(text))


def test_plain_tables_are_whole_lines_with_tabs(capsys: pytest.CaptureFixture[str]) -> None:
    show_table(["name", "note"], [("水彩 🎨" * 50, None), ("a\tb\nc", "\x1b[31mred")])
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["name\tnote", "水彩 🎨" * 50 + "\t", "a b c\t\N{REPLACEMENT CHARACTER}[31mred"]


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1024, "1.0 KiB"), (5 * 2**30, "5.0 GiB"), (3 * 2**50, "3072.0 TiB")],
)
def test_sizes(count: int, text: str) -> None:
    assert bytes_text(count) == text


def test_json_escapes_every_control_character(capsys: pytest.CaptureFixture[str]) -> None:
    value = {"name": "".join(map(chr, range(160))) + "水"}
    show_json(value)
    shown = capsys.readouterr().out
    assert not [character for character in shown if unicodedata.category(character) == "Cc" and character != "\n"]
    assert "水" in shown
    assert json.loads(shown) == value
