"""docs/analytics.md: its reference is what is declared, and every example runs and finds something."""

import re
from pathlib import Path

import pytest

from tests.warehouse.marts.conftest import Analyst
from warehouse.marts import reference

PAGE = Path(__file__).parents[3] / "docs" / "analytics.md"
EXAMPLES = re.findall(r"```sql\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_the_reference_is_what_is_declared() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert reference.replace_section(page) == page, f"run: python -m warehouse.marts.reference {PAGE}"


def test_there_are_examples() -> None:
    assert len(EXAMPLES) >= 15


@pytest.mark.parametrize("sql", EXAMPLES, ids=lambda sql: sql.split("\n")[0][:40])
def test_an_example_finds_something(analyst: Analyst, sql: str) -> None:
    result = analyst.ask(sql)
    assert result.rows
    assert len({column.name for column in result.columns}) == len(result.columns)


def test_a_page_without_markers_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing")
    with pytest.raises(ValueError, match="lacks the lines"):
        reference.main([str(page)])
    assert page.read_text() == "nothing"
