"""The folder a sample is written into: claimed once, never over anything of the user's.

Belongs here: the marker file and safe writing. Does not: what is written (`library`, `catalogue`).
"""

from __future__ import annotations

import json
import os
from pathlib import Path

MARKER = ".lora-manager-sample"
"""Names a folder as made by this generator, with the parameters it was made with; not a document for any reader."""


class SampleError(Exception):
    """A sample cannot be written there; the message says why and what to do."""


class SampleFolder:
    """An open folder; relative paths, each written once and whole."""

    def __init__(self, root: Path, parameters: dict[str, object]) -> None:
        self.root = root
        self.files = 0
        self.bytes = 0
        self._made: set[Path] = set()
        self._claim(parameters)

    def write(self, relative: str, content: bytes) -> None:
        """Write a file unless it is there already; a killed run leaves no half-written one."""
        target = self.root / relative
        self.files += 1
        self.bytes += len(content)
        if target.parent not in self._made:
            target.parent.mkdir(parents=True, exist_ok=True)
            self._made.add(target.parent)
        if os.path.lexists(target):
            return
        partial = f"{target}.partial"
        with open(partial, "wb") as file:  # noqa: PTH123 - twice as fast as Path.open over 20,000 files
            file.write(content)
        os.rename(partial, target)  # noqa: PTH104

    def _claim(self, parameters: dict[str, object]) -> None:
        marker = self.root / MARKER
        wanted = {"generator": "lora-manager sample", **parameters}
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            if marker.is_file():
                self._compare(marker, wanted)
            elif any(self.root.iterdir()):
                raise SampleError(
                    f"{self.root} holds files that are not a sample library. Name a new or an empty folder."
                )
            else:
                marker.write_text(json.dumps(wanted, indent=1) + "\n", encoding="utf-8")
        except OSError as error:
            raise SampleError(
                f"{self.root} cannot be written to ({error.strerror}). Name another folder or change its permissions."
            ) from error

    def _compare(self, marker: Path, wanted: dict[str, object]) -> None:
        try:
            found = json.loads(marker.read_text(encoding="utf-8"))
        except ValueError:
            found = None
        if found != wanted:
            raise SampleError(
                f"{self.root} holds a sample library made with other parameters ({MARKER} names them). "
                "Delete that folder or name another one."
            )
