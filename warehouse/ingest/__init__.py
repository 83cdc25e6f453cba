"""From folders to rows: the database side of the ingest, in four stages that a sync runs one after the other.

Each stage holds the lock `ingest`, works off what is due by watermark, commits per chunk, and can be killed and run
again. Pure reading and merging is `warehouse.civitai` and `warehouse.safetensors`.
"""

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
