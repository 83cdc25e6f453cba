"""A statement: one record together with the document it comes from, and how much its word counts."""

from typing import Final

import msgspec
from msgspec import Struct

from warehouse.civitai.facts import Source
from warehouse.civitai.records import Record, UserFacts
from warehouse.civitai.verdicts import Shape

_CIVITAI_SHAPES: Final = frozenset({Shape.MODEL, Shape.VERSION, Shape.CIVITAI_INFO, Shape.SEARCH_HIT})
_MATCHED_RANKS: Final = {Shape.MODEL: 0, Shape.VERSION: 1, Shape.CIVITAI_INFO: 2}
_RANKS: Final = {
    Shape.LORA_MANAGER: 10,
    Shape.CIVITAI_INFO: 11,
    Shape.MODEL: 12,
    Shape.VERSION: 13,
    Shape.SEARCH_HIT: 14,
    Shape.STABILITY_MATRIX: 15,
    Shape.RGTHREE: 16,
    Shape.SWARM: 17,
    Shape.INVOKEAI: 18,
    Shape.A1111: 19,
    Shape.HEADER_DUMP: 20,
}
_USER_RANKS: Final = {
    Shape.A1111: 0,
    Shape.LORA_MANAGER: 1,
    Shape.STABILITY_MATRIX: 2,
    Shape.RGTHREE: 3,
    Shape.MODEL: 4,
    Shape.VERSION: 5,
    Shape.CIVITAI_INFO: 6,
}
_ABOUT_SIBLING: Final = frozenset(
    {
        Shape.CIVITAI_INFO, Shape.VERSION, Shape.A1111, Shape.LORA_MANAGER, Shape.STABILITY_MATRIX, Shape.SWARM,
        Shape.RGTHREE, Shape.INVOKEAI,
    }
)  # fmt: skip


class Statement(Struct, frozen=True):
    """What one document says of one version, of a model, or of the weight beside it."""

    source: Source
    record: Record

    @property
    def is_civitai(self) -> bool:
        """Whether the record has the shape of one of Civitai's own objects."""
        return self.record.shape in _CIVITAI_SHAPES

    @property
    def is_about_sibling(self) -> bool:
        """Whether the document speaks of one version, hence of the weight beside it, rather than listing a model's."""
        return self.record.shape in _ABOUT_SIBLING

    @property
    def rank(self) -> int:
        """Its place in the order of precedence when no hash is known to match; smaller counts more."""
        return _RANKS[self.record.shape]

    @property
    def user_rank(self) -> int:
        """Its place among the documents that keep a person's own values; smaller counts more."""
        return _USER_RANKS.get(self.record.shape, _RANKS[self.record.shape])

    def precedence(self, *, matched: bool) -> int:
        """Its place in the order of precedence; `matched` where its hash is the file's."""
        if matched:
            return _MATCHED_RANKS.get(self.record.shape, self.rank)
        return self.rank

    def without_user_facts(self) -> "Statement":
        """The same without what a person keeps."""
        if self.record.user.is_empty():
            return self
        return Statement(self.source, msgspec.structs.replace(self.record, user=UserFacts()))

    def user_facts_alone(self) -> "Statement":
        """Only what a person keeps: it stays true of the file even where the document names another version."""
        return Statement(self.source, Record(shape=self.record.shape, user=self.record.user))
