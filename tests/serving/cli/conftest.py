"""The command line as a user has it: a process of its own, its outputs and its exit code."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests import programs

Run = Callable[..., "subprocess.CompletedProcess[str]"]


def runner(folder: Path) -> Run:
    """Runs `lora-manager` in a folder, with `data` in it as its data folder."""

    def run_command(
        *arguments: str, stdin: str = "", timeout: float = 120, **environment: str
    ) -> "subprocess.CompletedProcess[str]":
        kept = {name: value for name, value in os.environ.items() if not name.startswith("LORA_MANAGER_")}
        return programs.run(
            "serving.cli.main",
            *arguments,
            folder=folder,
            environment={**kept, "LORA_MANAGER_DATA_DIR": str(folder / "data"), **environment},
            stdin=stdin,
            timeout=timeout,
        )

    return run_command


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Runs `lora-manager` in an empty folder of this test."""
    return runner(tmp_path)
