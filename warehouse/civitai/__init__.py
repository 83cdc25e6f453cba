"""Civitai metadata: bytes of sidecars to typed records, and records to merged drafts of adapters.

Pure: no database, no file system, no network. `read_document` reads one document; `merge` decides between all the
documents of one bundle.
"""

from warehouse.civitai.documents import read_document
from warehouse.civitai.drafts import assess
from warehouse.civitai.facts import AdapterDraft, BundleFacts, Finding, Merged, Source, WeightFacts
from warehouse.civitai.markup import html_to_text, sanitise_html
from warehouse.civitai.merge import decide, merge
from warehouse.civitai.records import Complaint, Example, FileClaim, Reading, Record
from warehouse.civitai.verdicts import (
    ComplaintCode,
    FileState,
    FindingCode,
    ReasonCode,
    Severity,
    Shape,
    Verdict,
)

__all__ = [
    "AdapterDraft",
    "BundleFacts",
    "Complaint",
    "ComplaintCode",
    "Example",
    "FileClaim",
    "FileState",
    "Finding",
    "FindingCode",
    "Merged",
    "Reading",
    "ReasonCode",
    "Record",
    "Severity",
    "Shape",
    "Source",
    "Verdict",
    "WeightFacts",
    "assess",
    "decide",
    "html_to_text",
    "merge",
    "read_document",
    "sanitise_html",
]
