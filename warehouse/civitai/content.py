"""The digest of what vectors derive from: the one watermark of an adapter's content, whoever changes it.

Belongs here: which facts count and how they are hashed. Does not: where the facts come from (drafts of documents, rows
that a user edited) and the texts that are made of them.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

FACTS: Final = ("network_type", "rank", "alpha", "resolution", "training", "training_tags")
"""Keys of `extra` that vectors read."""
_ENCODER: Final = msgspec.msgpack.Encoder(order="deterministic")


class Content(Struct, frozen=True, kw_only=True, array_like=True):
    """What vectors derive from: statistics, paths and images' addresses stay out. `facts` has the values of `FACTS`."""

    name: str
    version: str | None
    description_text: str | None
    author_username: str | None
    tags: Sequence[str]
    trained_words: Sequence[str]
    triggers: Sequence[str]
    activation_text: str | None
    archetype: str | None
    base_model: str | None
    sd_version: str | None
    prompts: Sequence[str | None]
    """Of the example images, in their order."""
    facts: Sequence[Any]
    user_tags: Sequence[str] = ()


def content_digest(content: Content) -> str:
    """32 hexadecimal digits."""
    return hashlib.blake2b(_ENCODER.encode(content), digest_size=16).hexdigest()
