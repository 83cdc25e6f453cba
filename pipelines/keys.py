"""The asset keys as Dagster takes them. The names themselves are a contract with `serving` and stand there."""

import dagster as dg

from warehouse import contracts
from warehouse.vectors.spaces import SPACES

LIBRARY_FILES = dg.AssetKey(contracts.LIBRARY_FILES)
DOCUMENTS = dg.AssetKey(contracts.DOCUMENTS)
ADAPTERS = dg.AssetKey(contracts.ADAPTERS)
INSPECTIONS = dg.AssetKey(contracts.INSPECTIONS)
ENCODER = dg.AssetKey(contracts.ENCODER)
INDEX = dg.AssetKey(contracts.INDEX)
LEXICAL_INDEX = dg.AssetKey(contracts.LEXICAL_INDEX)
EVALUATION = dg.AssetKey(contracts.EVALUATION)
PAIRS = dg.AssetKey(contracts.PAIRS)
PROFILES = dg.AssetKey(contracts.PROFILES)
NEAR_DUPLICATES = dg.AssetKey(contracts.NEAR_DUPLICATES)
ANALYTICS = dg.AssetKey(contracts.ANALYTICS)

SPACE_NAMES = tuple(space.name.value for space in SPACES)
"""The embedding spaces, in the order of the index."""


def vector_key(space: str) -> dg.AssetKey:
    """The asset of an embedding space."""
    return dg.AssetKey(contracts.vector_key(space))


def mart_key(name: str) -> dg.AssetKey:
    """The asset of a published table."""
    return dg.AssetKey(contracts.mart_key(name))
