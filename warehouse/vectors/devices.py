"""Which devices can compute here: CUDA, ROCm, MPS, CPU; found without importing torch.

Belongs here: what the machine has, how far it is in use, and what the installed torch was built for. Does not: running
anything on them.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import platform
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_NVIDIA_QUERY = ("--query-gpu=name,memory.total", "--format=csv,noheader,nounits")
_NVIDIA_USAGE = (
    "--query-gpu=index,name,memory.total,memory.used,utilization.gpu,temperature.gpu",
    "--format=csv,noheader,nounits",
)
_DRM_CARDS = Path("/sys/class/drm")
_AMD_VENDOR = "0x1002"
_KFD_NODES = Path("/sys/class/kfd/kfd/topology/nodes")
_TIMEOUT_S = 5.0
_BUILD_LINE = re.compile(r"^(cuda|hip)\b[^=]*=\s*'([^']+)'", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class TorchBuild:
    """The installed torch: its version, and the CUDA or ROCm (HIP) version that it was built for, if any."""

    version: str
    cuda: str | None
    hip: str | None


@dataclass(frozen=True, slots=True)
class Device:
    """A device. `usable` says whether the installed torch can use it, `note` why not, and what to do."""

    kind: str
    name: str
    memory_bytes: int | None = None
    usable: bool = True
    note: str | None = None


@dataclass(frozen=True, slots=True)
class GpuUsage:
    """How far a GPU is in use now; what its driver does not tell is None."""

    index: int
    name: str
    memory_total: int | None = None
    """Bytes."""
    memory_used: int | None = None
    """Bytes."""
    utilization: float | None = None
    """Percent of the time."""
    temperature: float | None = None
    """Degrees Celsius."""


def torch_build() -> TorchBuild | None:
    """What the installed torch was built for, read from its files; None without torch."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    try:
        found = dict(_BUILD_LINE.findall((Path(spec.origin).parent / "version.py").read_text(encoding="utf-8")))
    except OSError:
        found = {}
    return TorchBuild(importlib.metadata.version("torch"), found.get("cuda"), found.get("hip"))


def detect_devices() -> list[Device]:
    """The devices of this machine, the best first; the CPU is always the last."""
    build = torch_build()
    return [*_nvidia(build), *_amd(build), *_apple(build), _cpu()]


def gpu_usage() -> list[GpuUsage]:
    """How far the GPUs are in use, where a driver tells; takes up to some seconds where it hangs."""
    return [*_nvidia_usage(), *_amd_usage(_DRM_CARDS)]


def _nvidia_usage() -> list[GpuUsage]:
    return [used for line in _ask_nvidia(_NVIDIA_USAGE) if (used := _parse_usage(line)) is not None]


def _parse_usage(line: str) -> GpuUsage | None:
    """A line of the driver's tool. A name may hold commas, and a number that it cannot tell is no number."""
    index, _, rest = line.partition(",")
    name, *numbers = rest.rsplit(",", 4)
    if len(numbers) != 4 or not index.strip().isdigit():
        return None
    total, used, utilization, temperature = (
        float(text) if re.fullmatch(r"\d+(\.\d+)?", text := number.strip()) else None for number in numbers
    )
    return GpuUsage(int(index), name.strip(), _mebibytes(total), _mebibytes(used), utilization, temperature)


def _mebibytes(count: float | None) -> int | None:
    return None if count is None else int(count) * 2**20


def _amd_usage(cards: Path) -> list[GpuUsage]:
    found: list[GpuUsage] = []
    for device in sorted(cards.glob("card[0-9]*/device")):
        if _read(device / "vendor") != _AMD_VENDOR:
            continue
        numbers = (_read(device / name) for name in ("mem_info_vram_total", "mem_info_vram_used", "gpu_busy_percent"))
        total, used, busy = (int(text) if text is not None and text.isdigit() else None for text in numbers)
        name = _read(device / "product_name") or "AMD GPU"
        found.append(GpuUsage(len(found), name, total, used, None if busy is None else float(busy)))
    return found


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def _ask_nvidia(query: tuple[str, ...]) -> list[str]:
    """Lines of the driver's tool; none where it is absent, fails or hangs."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return []
    try:
        answer = subprocess.run(  # noqa: S603
            [tool, *query],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_TIMEOUT_S,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return []
    return answer.stdout.splitlines()


def _nvidia(build: TorchBuild | None) -> list[Device]:
    usable = build is not None and build.cuda is not None
    note = None if usable else "the installed torch has no CUDA: install the CUDA build of torch (see pytorch.org)"
    devices = []
    for line in _ask_nvidia(_NVIDIA_QUERY):
        name, _, memory = line.rpartition(",")
        if name:
            size = int(memory) * 2**20 if memory.strip().isdigit() else None
            devices.append(Device("cuda", name.strip(), size, usable, note))
    return devices


def _amd(build: TorchBuild | None) -> list[Device]:
    usable = build is not None and build.hip is not None
    note = None if usable else "the installed torch has no ROCm: install the ROCm build of torch (see pytorch.org)"
    devices = []
    for node in sorted(_KFD_NODES.glob("*")) if _KFD_NODES.is_dir() else ():
        try:
            properties = dict(
                line.split(maxsplit=1) for line in (node / "properties").read_text().splitlines() if " " in line
            )
            name = (node / "name").read_text().strip()
        except OSError:
            continue
        # A node without compute units is a CPU.
        if int(properties.get("simd_count", "0")) > 0:
            devices.append(Device("rocm", name or "AMD GPU", _kfd_memory(node), usable, note))
    return devices


def _kfd_memory(node: Path) -> int | None:
    try:
        text = (node / "mem_banks" / "0" / "properties").read_text()
    except OSError:
        return None
    found = re.search(r"^size_in_bytes (\d+)$", text, re.MULTILINE)
    return int(found.group(1)) if found else None


def _apple(build: TorchBuild | None) -> list[Device]:
    if platform.system() != "Darwin" or platform.machine() != "arm64":
        return []
    note = None if build is not None else "torch is not installed"
    return [Device("mps", "Apple GPU", None, build is not None, note)]


def _cpu() -> Device:
    name = platform.processor() or platform.machine()
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        name = found.group(1).strip() if found else name
        memory: int | None = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (OSError, ValueError):
        memory = None
    return Device("cpu", name, memory)


@lru_cache(maxsize=8)
def choose_device(wanted: str) -> Device:
    """The device of the setting `device`: auto takes the best usable one. Looked up once per process.

    Raises:
        LookupError: the device that is asked for by name is not there or cannot be used; says why.
    """
    devices = detect_devices()
    if wanted == "auto":
        return next(device for device in devices if device.usable)
    matching = [device for device in devices if device.kind == wanted]
    usable = next((device for device in matching if device.usable), None)
    if usable is not None:
        return usable
    why = matching[0].note if matching else "no such device was found on this machine"
    raise LookupError(f"LORA_MANAGER_DEVICE is {wanted!r}: {why}. Set it to auto or cpu, or fix that")
