"""The fine-tuned encoder, where one is published: it takes the place of the model that it was made from.

Belongs here: which settings hold while it is in use. Does not: making and publishing it (`warehouse.tuning`), and
finding its files (`encoders.weights`).
"""

from __future__ import annotations

from warehouse.engine import Database
from warehouse.generations import at_hand, current
from warehouse.settings import Settings
from warehouse.vectors.encoders.protocol import EncoderError
from warehouse.vectors.encoders.weights import TUNED, tuned_name


def in_use(database: Database, settings: Settings) -> Settings:
    """The settings with the fine-tuned encoder in the spaces for which it was published.

    A space keeps its model where the settings name another one than was tuned: who changes the model wants that one.

    Raises:
        EncoderError: its files are in a store, and cannot be got from there.
    """
    published = current(database, settings, TUNED) if settings.use_tuned_encoder else None
    if published is None:
        return settings
    try:
        at_hand(database, settings, published)
    except OSError as error:
        raise EncoderError(f"the fine-tuned model {tuned_name(published.name)} cannot be got: {error}") from error
    base = published.manifest["base"]["name"]
    fields = [f"embedding_model_{space}" for space in published.manifest["spaces"]]
    tuned = {field: tuned_name(published.name) for field in fields if getattr(settings, field) == base}
    return settings.model_copy(update=tuned)
