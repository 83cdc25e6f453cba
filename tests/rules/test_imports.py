"""The import directions between the packages, and the lightness of the two entry modules."""

import ast
import json
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from warehouse.backends import GROUP, plugins

ROOT = Path(__file__).parents[2]
HEAVY = {"torch", "transformers", "sentence_transformers", "faiss", "onnxruntime", "onnx", "duckdb", "pyarrow", "numpy"}
FORBIDDEN = {
    "warehouse": {"dagster", "fastapi", "starlette", "typer", "pipelines", "serving"},
    "pipelines": {"fastapi", "starlette", "typer", "serving"},
    "serving": {"dagster", "pipelines"},
}
MAX_CPU_RATIO = 6.0
"""What every run of Dagster pays before it begins, against importing Dagster alone; torch alone would cost ten times as
much."""


def _modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def _imports(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """The top-level packages that a module imports, anywhere in it, with their lines."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name.partition(".")[0], node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0], node.lineno


@pytest.mark.parametrize("package", FORBIDDEN)
def test_no_package_imports_against_the_direction(package: str) -> None:
    offences = [
        f"{path.relative_to(ROOT)}:{line} imports {name}"
        for path in _modules(package)
        for name, line in _imports(ast.parse(path.read_text(encoding="utf-8")))
        if name in FORBIDDEN[package]
    ]
    assert not offences


def _reads_environment(node: ast.AST) -> bool:
    """`os.getenv(…)`, `os.environ.get(…)` or `os.environ[…]`; handing the whole of it to a child is no reading."""
    if isinstance(node, ast.Attribute):
        return ast.unparse(node) in {"os.getenv", "os.environb", "os.environ.get"}
    if isinstance(node, ast.Subscript):
        return ast.unparse(node.value) == "os.environ" and isinstance(node.ctx, ast.Load)
    return False


@pytest.mark.parametrize("package", FORBIDDEN)
def test_only_the_settings_read_the_environment(package: str) -> None:
    offences = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for path in _modules(package)
        if path != ROOT / "warehouse" / "settings.py"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, (ast.Attribute, ast.Subscript)) and _reads_environment(node)
    ]
    assert not offences


def test_no_module_imports_what_computes_at_its_top() -> None:
    offences = [
        f"{path.relative_to(ROOT)}:{node.lineno}"
        for package in FORBIDDEN
        for path in _modules(package)
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for name, _ in _imports(node)
        if name in HEAVY - {"numpy", "onnx"}
    ]
    assert not offences


@pytest.mark.parametrize("module", ["pipelines.definitions", "pipelines.delivery_definitions", "serving.app"])
def test_entry_modules_are_light(module: str) -> None:
    loaded, baseline = _imported(module), _imported("dagster")
    assert not HEAVY & set(loaded["modules"])
    assert loaded["cpu"] < MAX_CPU_RATIO * baseline["cpu"]


def _imported(module: str) -> dict[str, Any]:
    """The top-level modules that importing one loads in a fresh process, and its CPU seconds."""
    code = (
        f"import json, sys, time, {module}\n"
        "print(json.dumps({'modules': sorted({name.partition('.')[0] for name in sys.modules}), "
        "'cpu': time.process_time()}))"
    )
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert answer.returncode == 0, answer.stderr
    measured: dict[str, Any] = json.loads(answer.stdout)
    return measured


def test_the_lanes_import_nothing_of_the_library() -> None:
    """A request on a cold lane waits for it."""
    code = "import sys, pipelines.delivery_definitions; print(*sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    ours = [name for name in answer.stdout.split() if name.startswith(("warehouse.", "pipelines."))]
    others = ("warehouse.ingest", "warehouse.civitai", "warehouse.vectors", "warehouse.marts", "pipelines.assets")
    assert ours
    assert not [name for name in ours if name.startswith(others)]


def test_workers_of_the_ingest_import_no_database() -> None:
    """Every one of them pays for what it imports, in time and in memory."""
    code = "import sys, warehouse.ingest.worker; print(*sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not {"sqlalchemy", "pydantic", "warehouse.models", "warehouse.engine", *HEAVY} & set(answer.stdout.split())


def test_backends_import_no_dagster() -> None:
    """The API loads them too."""
    code = "import sys; from warehouse.backends import plugins; plugins(); print(*sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert not {"dagster", *HEAVY} & set(answer.stdout.split())


def test_every_backend_that_is_declared_is_installed_and_loads() -> None:
    """Entry points are read from what is installed: an environment older than pyproject.toml lacks the new ones."""
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["entry-points"][GROUP]
    assert set(declared) <= set(plugins()), "install again: make .venv/.installed-dev"
