"""The command line as a user has it: a real process, its outputs and its exit code."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def runner(folder: Path) -> Run:
    """Runs `lora-manager` in a folder, with `data` in it as its data folder."""

    def run_command(
        *arguments: str, stdin: str = "", timeout: float = 120, **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        kept = {name: value for name, value in os.environ.items() if not name.startswith("LORA_MANAGER_")}
        return subprocess.run(
            [sys.executable, "-m", "serving.cli.main", *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=timeout,
            cwd=folder,
            env={**kept, "LORA_MANAGER_DATA_DIR": str(folder / "data"), **environment},
            check=False,
        )

    return run_command


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs `lora-manager` in an empty folder of this test."""
    return runner(tmp_path)
