"""The pages of promises name tests that there are, and every row of them names one."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ("docs/failures.md", "docs/threat-model.md")
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
_CODE = re.compile(r"`((?:warehouse|serving|pipelines)/[\w/.]+)`")


@cache
def _tests_of(file: str) -> frozenset[str]:
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef))


def _rows(page: str) -> list[str]:
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.startswith("| ") and not line.startswith(("| what |", "| who |"))]


@pytest.mark.parametrize("page", PAGES)
def test_every_row_names_a_test(page: str) -> None:
    rows = _rows(page)
    assert len(rows) > 10
    assert [row for row in rows if not _TEST.search(row)] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_is_named_exists(page: str) -> None:
    named = _TEST.findall((ROOT / page).read_text(encoding="utf-8"))
    missing = [f"{file}::{name}" for file, name in named if not (ROOT / file).exists() or name not in _tests_of(file)]
    assert missing == []


@pytest.mark.parametrize("page", PAGES)
def test_every_file_that_is_named_exists(page: str) -> None:
    named = _CODE.findall((ROOT / page).read_text(encoding="utf-8"))
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_every_failure_test_is_on_its_page() -> None:
    page = (ROOT / "docs/failures.md").read_text(encoding="utf-8") + (ROOT / PAGES[1]).read_text(encoding="utf-8")
    tests = [
        (file.relative_to(ROOT).as_posix(), name)
        for file in sorted((ROOT / "tests/failures").glob("test_*.py"))
        for name in sorted(_tests_of(file.relative_to(ROOT).as_posix()))
        if name.startswith("test_")
    ]
    assert [f"{file}::{name}" for file, name in tests if f"{file}::{name}" not in page] == []
