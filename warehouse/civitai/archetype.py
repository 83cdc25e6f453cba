"""What kind of thing an adapter adds (character, style, …), with a calibrated confidence."""

from msgspec import Struct


class Evidence(Struct, frozen=True, kw_only=True):
    """What the classification looks at."""

    name: str
    version: str | None = None
    tags: tuple[str, ...] = ()
    trained_words: tuple[str, ...] = ()
    description: str | None = None
    training_tags: tuple[str, ...] = ()


def classify(evidence: Evidence) -> tuple[str | None, float | None]:
    """The archetype and its probability; None where nothing speaks for any."""
    del evidence
    return None, None
