"""Weight files: the safetensors container read and checked, hashed, and described, without torch.

Belongs here: everything that follows from the bytes of one weight file. Does not: documents beside it
(`warehouse.civitai`), the database (`warehouse.ingest`).
"""

from warehouse.safetensors.facts import HeaderFacts, describe_header, describe_metadata
from warehouse.safetensors.formats import DTYPE_BITS, PICKLE_SUFFIXES, SAFETENSORS_SUFFIXES, WEIGHT_SUFFIXES
from warehouse.safetensors.hashing import FileHashes, hash_file
from warehouse.safetensors.header import MAX_HEADER_BYTES, Header, Tensor, read_header
from warehouse.safetensors.inspection import Inspection, InspectionState, inspect_file
from warehouse.safetensors.objects import inspect_object
from warehouse.safetensors.problems import (
    HashingError,
    HashingStoppedError,
    HeaderError,
    HeaderProblem,
    WeightFileError,
)

__all__ = [
    "DTYPE_BITS",
    "MAX_HEADER_BYTES",
    "PICKLE_SUFFIXES",
    "SAFETENSORS_SUFFIXES",
    "WEIGHT_SUFFIXES",
    "FileHashes",
    "HashingError",
    "HashingStoppedError",
    "Header",
    "HeaderError",
    "HeaderFacts",
    "HeaderProblem",
    "Inspection",
    "InspectionState",
    "Tensor",
    "WeightFileError",
    "describe_header",
    "describe_metadata",
    "hash_file",
    "inspect_file",
    "inspect_object",
    "read_header",
]
