"""Vectors of adapters: what is embedded, by which model, how the vectors are kept, indexed and searched.

Belongs here: everything between an adapter's facts and the similarity of two adapters. Does not: lexical evidence,
boosts and explanations (`serving`), and when anything of this runs (`pipelines`). numpy, torch, faiss and onnxruntime
are imported inside the functions that use them, so that importing this package costs nothing.
"""

from warehouse.vectors.codec import decode_vector, decode_vectors
from warehouse.vectors.encoders.protocol import EncoderError
from warehouse.vectors.filters import SearchFilter
from warehouse.vectors.indices import KIND, IndexPlan, RecallTooLowError, choose_index, publish_index
from warehouse.vectors.near import find_near_duplicates
from warehouse.vectors.requested import compute_requested, look_up
from warehouse.vectors.search import Match, NoVectorsError, Recommender, SearchResult
from warehouse.vectors.spaces import SPACES, Space, SpaceName, default_weights, prompt_weights, space_of
from warehouse.vectors.work import compute_embeddings, producer_of

__all__ = [
    "KIND",
    "SPACES",
    "EncoderError",
    "IndexPlan",
    "Match",
    "NoVectorsError",
    "RecallTooLowError",
    "Recommender",
    "SearchFilter",
    "SearchResult",
    "Space",
    "SpaceName",
    "choose_index",
    "compute_embeddings",
    "compute_requested",
    "decode_vector",
    "decode_vectors",
    "default_weights",
    "find_near_duplicates",
    "look_up",
    "producer_of",
    "prompt_weights",
    "publish_index",
    "space_of",
]
