"""Sample libraries: invented adapters with plausible metadata, for newcomers, tests and measurements.

Belongs here: the generator. Does not: real data, and anything that reads a library.
"""

from warehouse.samples.catalogue import generate_documents
from warehouse.samples.folder import MARKER, SampleError
from warehouse.samples.library import SampleReport, SidecarFormat, generate_library

__all__ = ["MARKER", "SampleError", "SampleReport", "SidecarFormat", "generate_documents", "generate_library"]
