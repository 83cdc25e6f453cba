"""The adapters that the tokens of a prompt mean, from the warehouse.

Belongs here: the look-up, for every backend alike. Does not: what a target calls them (`loras`).
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

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

    async def meant_by(self, prompt: str, params: Mapping[str, Any]) -> Meant:
        """The adapters of a prompt's tokens, in one query.

        Args:
            prompt: with its tokens.
            params: of the job; the adapters that it was composed of by their ids (`lora_adapters`) are those.
        """
        names = {token.name for token in tokens_of(prompt)}
        return await asyncio.to_thread(self._find, names, _chosen(params)) if names else Meant()

    def _find(self, names: set[str], chosen: set[str]) -> Meant:
        with self._database.read() as connection:
            found = named_adapters.by_names(connection, names)
        own, warnings = {}, []
        for name, versions in sorted(found.items()):
            by_id = next((version for version in versions if version.id in chosen), None)
            own[name] = _own(by_id or versions[0])
            if by_id is None and len(versions) > 1:
                warnings.append(f"{name} has {len(versions)} versions: {_which(versions[0])} was taken")
        return Meant(own, warnings)

    def close(self) -> None:
        """Close the connections."""
        self._database.dispose()


def _chosen(params: Mapping[str, Any]) -> set[str]:
    """The ids of the adapters that a job names; what is no such list names none."""
    entries = params.get("lora_adapters")
    listed = entries if isinstance(entries, list) else []
    return {str(entry.get("id")) for entry in listed if isinstance(entry, Mapping)}


def _own(adapter: NamedAdapter) -> OwnLora:
    hashes = frozenset(digest for digest in (adapter.payload_sha256, adapter.sha256) if digest)
    return OwnLora(adapter.id, adapter.name, adapter.file_path, hashes)


def _which(adapter: NamedAdapter) -> str:
    version = f"version {adapter.version}" if adapter.version else "the one without a version"
    return f"{version}, which is active," if adapter.active else version
