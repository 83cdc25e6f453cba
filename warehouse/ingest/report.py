"""What a stage of the ingest did, in the same words for every stage.

Does not belong here: how it is shown.
"""

from dataclasses import dataclass, field
from typing import Any

Json = Any
"""A value that JSON can hold."""


@dataclass(frozen=True, slots=True)
class StageReport:
    """Counts of one stage.

    `rows`: what the stage is answerable for as it now stands; `changed`: written by this call; `skipped`: looked at and
    found unchanged; `rejected`: could not be taken, each with its reason in the database; `seconds`: wall time.
    """

    rows: int
    changed: int
    skipped: int
    rejected: int
    seconds: float
    details: dict[str, Json] = field(default_factory=dict)
