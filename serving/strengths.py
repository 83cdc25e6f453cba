"""Which weight to use an adapter with, and how that is known. Looks up what a sync derived; nothing is computed here.

Belongs here: the words of the evidence, and laying it over entries of an answer. Does not: finding weights in example
images (`warehouse.civitai.strengths`), and how strong a stack is (`advice`).
"""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection

from warehouse.queries import evidence


def suggested(known: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The weight that is suggested, from the weights that are known (`adapter_details.strengths`); None: none are.

    What example images state comes first, for it is what their pictures were made with; a weight that somebody prefers
    in the metadata is named as such.
    """
    if not known:
        return None
    preferred, count = known.get("preferred"), known.get("count", 0)
    if not count:
        if preferred is None:
            return None
        return _suggestion(preferred, "the preferred weight of its metadata", 0, None, None)
    median = known["median"]
    words = f"{median:g} in 1 example image" if count == 1 else f"median {median:g} in {count} example images"
    if preferred is not None:
        words += f"; its metadata prefers {preferred:g}"
    return _suggestion(median, words, count, known["low"], known["high"])


def _suggestion(weight: float, words: str, count: int, low: float | None, high: float | None) -> dict[str, Any]:
    return {"suggested_weight": weight, "evidence": words, "count": count, "low": low, "high": high}


def lay_over(connection: Connection, entries: Iterable[dict[str, Any]]) -> None:
    """Give each entry the key `strength`, of the adapter that its `lora_id` names; one statement for all."""
    entries = list(entries)
    ids = {entry["lora_id"] for entry in entries} - {None}
    known = evidence.strengths(connection, sorted(ids)) if ids else {}
    for entry in entries:
        entry["strength"] = suggested(known.get(entry["lora_id"]))
