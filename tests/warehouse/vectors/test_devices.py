"""GPUs as their drivers tell of them, through a driver's tool that is a real program of the test's own."""

from collections.abc import Callable
from pathlib import Path

import pytest

from warehouse.vectors import devices
from warehouse.vectors.devices import GpuUsage, gpu_usage

MIB = 2**20


@pytest.fixture
def nvidia(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put an `nvidia-smi` with the given shell script on the path, alone."""

    def install(script: str) -> None:
        tool = tmp_path / "nvidia-smi"
        tool.write_text(f"#!/bin/sh\n{script}\n")
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))

    return install


def test_every_card_is_told_with_what_its_driver_knows(nvidia: Callable[[str], None]) -> None:
    nvidia(
        "echo '0, NVIDIA GeForce RTX 4090, 24564, 8120, 4, 41'\n"
        "echo '1, Tesla V100, with a comma, 16160, [N/A], [Not Supported], [N/A]'\n"
        "echo 'Unable to determine the device handle'"
    )
    assert [gpu for gpu in gpu_usage() if gpu.name != "AMD GPU"] == [
        GpuUsage(0, "NVIDIA GeForce RTX 4090", 24564 * MIB, 8120 * MIB, 4.0, 41.0),
        GpuUsage(1, "Tesla V100, with a comma", 16160 * MIB, None, None, None),
    ]


@pytest.mark.parametrize("script", ["exit 9", "kill -9 $$", "printf '\\377\\n'", "true"])
def test_a_driver_that_fails_is_no_card(nvidia: Callable[[str], None], script: str) -> None:
    nvidia(script)
    assert devices._nvidia_usage() == []


def test_a_driver_that_hangs_is_given_up(nvidia: Callable[[str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "_TIMEOUT_S", 0.2)
    nvidia("while :; do :; done")
    assert devices._nvidia_usage() == []


def test_amd_cards_are_read_from_the_kernel(tmp_path: Path) -> None:
    for card, vendor, files in (
        ("card0", "0x8086", {}),
        (
            "card1",
            "0x1002",
            {"mem_info_vram_total": "17163091968", "mem_info_vram_used": "27", "gpu_busy_percent": "5"},
        ),
        ("card2", "0x1002", {"product_name": "Radeon RX 7900 XTX", "gpu_busy_percent": "?"}),
    ):
        device = tmp_path / card / "device"
        device.mkdir(parents=True)
        (device / "vendor").write_text(f"{vendor}\n")
        for name, text in files.items():
            (device / name).write_text(f"{text}\n")
    (tmp_path / "card1-DP-1").mkdir()
    assert devices._amd_usage(tmp_path) == [
        GpuUsage(0, "AMD GPU", 17163091968, 27, 5.0),
        GpuUsage(1, "Radeon RX 7900 XTX"),
    ]
