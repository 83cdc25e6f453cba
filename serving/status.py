"""The status of the system as answers show it: conditions and readings in the units that front ends read.

Belongs here: units and wording. Does not: what is unwell (`conditions`), reading the machine (`machine`).
"""

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from serving.conditions import Conditions
from serving.machine import Disk, Load
from serving.version import VERSION
from warehouse.models import utc_now

if TYPE_CHECKING:
    from serving.deps import Services
    from serving.orchestrator import DagsterState
    from warehouse.vectors.devices import Device, GpuUsage

_MIB = 2**20
_GIB = 2**30


def system_status(
    services: "Services", conditions: Conditions, dagster: "DagsterState", last_ingested_at: datetime | None
) -> dict[str, Any]:
    """The answer of `/system/status`."""
    now = utc_now()
    load, gpus = services.machine.load(), services.machine.gpus()
    usable = [device for device in _gpus_of(services.machine.devices()) if device.usable]
    used, total = _memory(load, gpus)
    count = len(conditions.warnings)
    return {
        "status": conditions.status,
        "queue_length": conditions.queue,
        "warnings": conditions.warnings,
        "metrics": _metrics(load, conditions.disk, gpus, now),
        "gpu_available": bool(usable),
        "gpu_status": gpu_status(services.machine.devices()),
        "memory_used": used // _MIB,
        "memory_total": total // _MIB,
        "active_workers": conditions.running,
        "message": "All is well" if not count else f"{count} thing{'s' if count > 1 else ''} to look at",
        "updated_at": now,
        "queue": {"active": conditions.queue, "running": conditions.running, "failed": conditions.failed},
        "sdnext": {"configured": bool(services.settings.sdnext_url)},
        "importer": {"total_adapters": conditions.total, "last_ingested_at": last_ingested_at},
        "recommendations": {
            "models_loaded": conditions.index.status in ("ready", "absent"),
            "gpu_available": bool(usable),
            "index_status": conditions.index.status,
        },
        "dagster_status": dagster.status,
        "version": VERSION,
    }


def system_health(services: "Services", conditions: Conditions, dagster: "DagsterState") -> dict[str, Any]:
    """The part of the dashboard that tells how the system is."""
    load, gpus, disk = services.machine.load(), services.machine.gpus(), conditions.disk
    return {
        "status": conditions.status,
        "warnings": conditions.warnings,
        "gpu_status": gpu_status(services.machine.devices()),
        "gpu_memory": _of_total(*_memory(load, gpus)) if gpus else "none",
        "queue_status": "active" if conditions.queue else "idle",
        "queue_length": conditions.queue,
        "storage_usage": f"{_of_total(disk.used, disk.total)} ({disk.percent:.0f}%)",
        "storage_percent": disk.percent,
        "storage_free_bytes": disk.free,
        "cpu_percent": load.cpu_percent,
        "memory_percent": load.memory_percent,
        "index_status": conditions.index.status,
        "dagster_status": dagster.status,
        "dagster_url": services.settings.dagster_url,
    }


def gpu_status(devices: "Sequence[Device]") -> str:
    """The GPUs in words."""
    gpus = _gpus_of(devices)
    if not gpus:
        return "none: computing on the CPU"
    return "; ".join(
        f"{gpu.name}, available" if gpu.usable else f"{gpu.name}, not usable: {gpu.note or 'unknown reason'}"
        for gpu in gpus
    )


def _gpus_of(devices: "Sequence[Device]") -> "list[Device]":
    return [device for device in devices if device.kind != "cpu"]


def _memory(load: Load, gpus: "Sequence[GpuUsage]") -> tuple[int, int]:
    """Bytes used and in all: of the GPUs that tell both, else of the machine."""
    known = [
        (gpu.memory_used, gpu.memory_total)
        for gpu in gpus
        if gpu.memory_used is not None and gpu.memory_total is not None
    ]
    if known:
        return sum(used for used, _ in known), sum(total for _, total in known)
    return load.memory_used, load.memory_total


def _of_total(used: int, total: int) -> str:
    """Front ends read two sizes from this text; their GB are of 1024³ bytes."""
    return f"{used / _GIB:.1f} GB / {total / _GIB:.1f} GB"


def _metrics(load: Load, disk: Disk, gpus: "Sequence[GpuUsage]", now: datetime) -> dict[str, Any]:
    memory_used, memory_total = load.memory_used // _MIB, load.memory_total // _MIB
    disk_used, disk_total = disk.used // _MIB, disk.total // _MIB
    return {
        "cpu": {"percent": load.cpu_percent, "cores": load.cores, "load_average": load.load_average},
        "memory": {
            "total": memory_total,
            "used": memory_used,
            "available": load.memory_available // _MIB,
            "percent": load.memory_percent,
        },
        "disk": {"total": disk_total, "used": disk_used, "percent": disk.percent},
        "gpus": [_gpu(gpu) for gpu in gpus],
        "cpu_percent": load.cpu_percent,
        "memory_percent": load.memory_percent,
        "memory_used": memory_used,
        "memory_total": memory_total,
        "disk_percent": disk.percent,
        "disk_used": disk_used,
        "disk_total": disk_total,
        "uptime_seconds": load.uptime_seconds,
        "timestamp": now,
    }


def _gpu(gpu: "GpuUsage") -> dict[str, Any]:
    total, used = gpu.memory_total, gpu.memory_used
    return {
        "id": gpu.index,
        "name": gpu.name,
        "memory_total": None if total is None else total // _MIB,
        "memory_used": None if used is None else used // _MIB,
        "memory_percent": round(100 * used / total, 1) if used is not None and total else None,
        "utilization": gpu.utilization,
        "temperature": gpu.temperature,
    }
