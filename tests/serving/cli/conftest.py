"""The command line as a user has it: a real process, its outputs and its exit code."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs `lora-manager` in an empty folder, with `tmp_path/data` as its data folder."""

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
            cwd=tmp_path,
            env={**kept, "LORA_MANAGER_DATA_DIR": str(tmp_path / "data"), **environment},
            check=False,
        )

    return run_command
