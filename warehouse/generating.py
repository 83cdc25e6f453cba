"""What the backends of generations and those who show their results agree on: the members of a result, and the words
for what went wrong.

Belongs here: names alone. Does not: how a result is made (`pipelines.backends`) or shown (`serving`).
"""

from enum import StrEnum
from typing import Final

FAILURE: Final = "failure"
"""Member of the result of a generation that failed: a `Failure`."""
PICTURES: Final = "pictures"
"""Member of the result of one that succeeded: its pictures, in order, each with `sha256`, `format`, `width`, `height`,
`size` (bytes), `seed` and `infotext`."""
LORA_REPORT: Final = "lora_report"
"""Member of both: the LoRAs of the prompt by what became of them."""

PREVIEW: Final = "preview"
"""Member of a progress: a small picture of what is being made, in base64."""


class Failure(StrEnum):
    """Why a generation failed, so that who waits for it can be answered by a status that fits."""

    UNREACHABLE = "unreachable"
    """There was no connection; nothing was sent."""
    TIMEOUT = "timeout"
    """It took longer than a generation may."""
    LOST = "lost"
    """The connection broke after it was sent: whether pictures were made is not known, and they cannot be had."""
    BUSY = "busy"
    """The target takes no more for now."""
    REFUSED = "refused"
    """The target does not take these parameters, or this user."""
    NO_PICTURE = "no_picture"
    """The target answered without a picture, or with too few."""
    LORAS = "loras"
    """A LoRA was not applied, and `strict_loras` was asked for."""
    ERROR = "error"
    """The target failed while it worked."""
