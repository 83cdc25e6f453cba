"""Fixtures shared by every test: where real data is, and limits that keep two cores usable."""

import os
from pathlib import Path

# Two OpenMP users on two cores spin against each other: every test process computes on one thread.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest


@pytest.fixture(scope="session")
def corpus() -> Path:
    """The folder of real Civitai metadata named by LORA_MANAGER_TEST_CORPUS; its files are never part of the project."""
    folder = os.environ.get("LORA_MANAGER_TEST_CORPUS", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("LORA_MANAGER_TEST_CORPUS names no folder of real metadata")
    return Path(folder)
