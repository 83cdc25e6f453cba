"""Tests of one group run in one process: what is costly is made once, and tests that go on from one another meet."""

import subprocess
import sys
from pathlib import Path

_TESTS = """
import os
import pathlib

import pytest


@pytest.mark.parametrize("number", range(8))
@pytest.mark.xdist_group("shared")
def test_it(number):
    pathlib.Path(os.environ["PYTEST_XDIST_WORKER"]).touch()
"""


def test_a_group_stays_in_one_process(tmp_path: Path) -> None:
    (tmp_path / "test_group.py").write_text(_TESTS)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-n", "2", "--dist", "loadgroup", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list(tmp_path.glob("gw*"))) == 1
