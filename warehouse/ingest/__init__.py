"""From folders to rows: the database side of the ingest, in four stages that a sync runs one after the other.

Each stage holds the lock `ingest`, works off what is due by watermark, commits per chunk, and can be killed and run
again. Pure reading and merging is `warehouse.civitai` and `warehouse.safetensors`.

The names are loaded when they are first asked for: a worker process imports its own modules out of this package, and
with the stages it would load SQLAlchemy and the settings too, a second of its CPU and half of its memory.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from warehouse.ingest.adapters import build_adapters
    from warehouse.ingest.documents import read_documents
    from warehouse.ingest.inspections import inspect_files
    from warehouse.ingest.plan import PlannedChange, SyncPlan, plan_sync
    from warehouse.ingest.progress import Progress
    from warehouse.ingest.report import StageReport
    from warehouse.ingest.roots import LibraryError
    from warehouse.ingest.scan import scan_library
    from warehouse.ingest.signature import library_signature
    from warehouse.ingest.tombstones import bury
    from warehouse.ingest.work import StorageError

__all__ = [
    "LibraryError",
    "PlannedChange",
    "Progress",
    "StageReport",
    "StorageError",
    "SyncPlan",
    "build_adapters",
    "bury",
    "inspect_files",
    "library_signature",
    "plan_sync",
    "read_documents",
    "scan_library",
]
_HOMES: Final = {
    "LibraryError": "roots",
    "PlannedChange": "plan",
    "Progress": "progress",
    "StageReport": "report",
    "StorageError": "work",
    "SyncPlan": "plan",
    "build_adapters": "adapters",
    "bury": "tombstones",
    "inspect_files": "inspections",
    "library_signature": "signature",
    "plan_sync": "plan",
    "read_documents": "documents",
    "scan_library": "scan",
}
"""The module of each name."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value
