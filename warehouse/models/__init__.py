"""The tables, one noun per file. Statements live beside their noun in `queries`, rules in the modules that derive."""

from warehouse.models.adapters import Adapter, AdapterDetail, AdapterSearch, AdapterTag, Tombstone
from warehouse.models.audit import AuditEntry
from warehouse.models.base import Base, UtcDateTime, utc_now
from warehouse.models.documents import Document, DocumentContent, HashClaim
from warehouse.models.embeddings import Embedding
from warehouse.models.findings import Duplicate, Finding
from warehouse.models.jobs import Job, JobCount, JobEvent, Lane
from warehouse.models.learning import AdapterPair, UseProfile
from warehouse.models.library import Bundle, File, Inspection, Root
from warehouse.models.pictures import AdapterUse, GeneratedImage
from warehouse.models.publications import Generation, Pointer
from warehouse.models.recommendations import RecommendationCache
from warehouse.models.statistics import Activity, ChangeCount, CommunityStatistic, FacetCount, Lock

__all__ = [
    "Activity",
    "Adapter",
    "AdapterDetail",
    "AdapterPair",
    "AdapterSearch",
    "AdapterTag",
    "AdapterUse",
    "AuditEntry",
    "Base",
    "Bundle",
    "ChangeCount",
    "CommunityStatistic",
    "Document",
    "DocumentContent",
    "Duplicate",
    "Embedding",
    "FacetCount",
    "File",
    "Finding",
    "GeneratedImage",
    "Generation",
    "HashClaim",
    "Inspection",
    "Job",
    "JobCount",
    "JobEvent",
    "Lane",
    "Lock",
    "Pointer",
    "RecommendationCache",
    "Root",
    "Tombstone",
    "UseProfile",
    "UtcDateTime",
    "utc_now",
]
