"""The machine under the service: processor, memory, disk, GPUs.

Belongs here: reading them without ever keeping a request waiting for a driver. Does not: what their state means
(`conditions`). The devices that compute are found once; what changes is read in the background when somebody asks and
the last reading is old, and the last one is what is answered.
"""

import os
import shutil
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from warehouse.vectors.devices import Device, GpuUsage

LITTLE_DISK = 2 * 2**30
"""Free bytes below which the next publication may not fit."""
_FRESH = 3.0
"""Seconds for which a reading is answered again."""
_MEASURED = 0.2
"""Seconds over which the processor's load is measured."""
_FIRST = 0.5
"""Seconds that the first question may wait for the first reading."""


@dataclass(frozen=True, slots=True)
class Load:
    """Processor and memory. Percentages are 0..100, sizes bytes."""

    cpu_percent: float
    cores: int
    load_average: tuple[float, float, float]
    memory_total: int
    memory_used: int
    memory_available: int
    memory_percent: float
    uptime_seconds: int


@dataclass(frozen=True, slots=True)
class Disk:
    """The disk of a folder, in bytes."""

    total: int
    used: int
    free: int

    @property
    def percent(self) -> float:
        """Used share, 0..100."""
        return round(100 * self.used / self.total, 1) if self.total else 0.0


def disk_of(folder: Path) -> Disk:
    """The disk that a folder lies on, or will lie on."""
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    usage = shutil.disk_usage(existing)
    return Disk(usage.total, usage.used, usage.free)


class Machine:
    """Readings of this machine; safe in any number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reading: threading.Thread | None = None
        self._read_at: float | None = None
        self._cpu_percent: float | None = None
        self._measured = threading.Event()
        self._found = threading.Event()
        self._devices: list[Device] = []
        self._gpus: list[GpuUsage] = []

    def start(self) -> None:
        """Begin the first reading."""
        self._refresh()

    def load(self) -> Load:
        """Processor and memory now; the processor's load is that of the last reading."""
        self._refresh()
        self._measured.wait(_FIRST)
        memory = psutil.virtual_memory()
        one, five, fifteen = psutil.getloadavg()
        return Load(
            cpu_percent=self._cpu_percent or 0.0,
            cores=os.cpu_count() or 1,
            load_average=(round(one, 2), round(five, 2), round(fifteen, 2)),
            memory_total=memory.total,
            memory_used=memory.total - memory.available,
            memory_available=memory.available,
            memory_percent=round(100 * (memory.total - memory.available) / memory.total, 1),
            uptime_seconds=int(time.time() - psutil.boot_time()),
        )

    def gpus(self) -> "Sequence[GpuUsage]":
        """How far the GPUs are in use, as last read; empty until the driver has answered."""
        self._refresh()
        return self._gpus

    def devices(self) -> "Sequence[Device]":
        """The devices that can compute, the best first; empty while the driver is still being asked for them."""
        self._refresh()
        self._found.wait(_FIRST)
        return self._devices

    def _refresh(self) -> None:
        with self._lock:
            fresh = self._read_at is not None and time.monotonic() - self._read_at < _FRESH
            if fresh or (self._reading is not None and self._reading.is_alive()):
                return
            self._reading = threading.Thread(target=self._read, name="machine", daemon=True)
            self._reading.start()

    def _read(self) -> None:
        from warehouse.vectors.devices import detect_devices, gpu_usage

        self._cpu_percent = psutil.cpu_percent(interval=_MEASURED)
        self._measured.set()
        if not self._found.is_set():
            self._devices = detect_devices()
            self._found.set()
        self._gpus = gpu_usage()
        self._read_at = time.monotonic()
