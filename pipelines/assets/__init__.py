"""The assets, by group: each is one call of a function of `warehouse`, with what the asset page shows of it.

Does not belong here: work lists, statements, formats. An asset's key is the address of what it stands for.
"""

from pipelines.assets.catalog import adapters, documents
from pipelines.assets.encoders import ENCODERS
from pipelines.assets.evaluation import EVALUATIONS
from pipelines.assets.indices import lexical, recommend
from pipelines.assets.inspection import inspections
from pipelines.assets.library import files
from pipelines.assets.marts import marts
from pipelines.assets.use import pairs, profiles
from pipelines.assets.vectors import VECTORS

ALL = [
    *(files, documents, adapters, inspections, lexical, *ENCODERS, *VECTORS, recommend),
    *(*EVALUATIONS, pairs, profiles, marts),
]
"""Every asset of the code location."""
