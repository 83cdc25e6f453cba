"""The adapters that the tokens of a prompt mean, from the warehouse.

Belongs here: the look-up, for every backend alike. Does not: what a target calls them (`loras`).
"""

import asyncio
from dataclasses import dataclass, field

from pipelines.backends.loras import OwnLora
from warehouse.engine import open_database
from warehouse.lora_tokens import tokens_of
from warehouse.queries import named_adapters
from warehouse.queries.named_adapters import NamedAdapter
from warehouse.settings import Settings


@dataclass(frozen=True, slots=True)
class Meant:
    """The adapters that a prompt means."""

    own: dict[str, OwnLora] = field(default_factory=dict)
    """By the name in their tokens; a name that the library does not have is absent."""
    warnings: list[str] = field(default_factory=list)


class Library:
    """The warehouse as backends need it."""

    def __init__(self, settings: Settings) -> None:
        self._database = open_database(settings)

    async def meant_by(self, prompt: str) -> Meant:
        """The adapters of a prompt's tokens, in one query."""
        names = {token.name for token in tokens_of(prompt)}
        return await asyncio.to_thread(self._find, names) if names else Meant()

    def _find(self, names: set[str]) -> Meant:
        with self._database.read() as connection:
            found = named_adapters.by_names(connection, names)
        own = {name: _own(versions[0]) for name, versions in found.items()}
        warnings = [
            f"{name} has {len(versions)} versions: {_which(versions[0])} was taken"
            for name, versions in sorted(found.items())
            if len(versions) > 1
        ]
        return Meant(own, warnings)

    def close(self) -> None:
        """Close the connections."""
        self._database.dispose()


def _own(adapter: NamedAdapter) -> OwnLora:
    hashes = frozenset(digest for digest in (adapter.payload_sha256, adapter.sha256) if digest)
    return OwnLora(adapter.id, adapter.name, adapter.file_path, hashes)


def _which(adapter: NamedAdapter) -> str:
    version = f"version {adapter.version}" if adapter.version else "the one without a version"
    return f"{version}, which is active," if adapter.active else version
