"""Facts of the adapters that a folder of API model documents describes, for benchmarks that need real texts.

One adapter per document, its first version; one example prompt of each is held out where there are two.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from warehouse.civitai import BundleFacts, Source, merge, read_document
from warehouse.vectors.facts import AdapterFacts
from warehouse.vectors.loading import facts_of


@dataclass(frozen=True, slots=True)
class Described:
    """An adapter without the prompt that is held out, if one could be."""

    facts: AdapterFacts
    held_out: str | None


def described_adapters(folder: Path, limit: int | None = None) -> Iterator[Described]:
    """The adapters of the documents below a folder, by path."""
    for path in sorted(folder.rglob("*.json"))[:limit]:
        raw = path.read_bytes()
        source = Source(path=str(path), mtime_ns=0, size=len(raw), reading=read_document(raw, file_name=path.name))
        drafts = merge(BundleFacts(directory=str(path.parent), stem=path.stem, sources=[source])).drafts
        if drafts:
            fields = msgspec.to_builtins(drafts[0])
            facts = facts_of({**fields, "user_tags": []})
            prompts = list(dict.fromkeys(facts.prompts))
            held_out = prompts.pop() if len(prompts) > 1 else None
            yield Described(replace(facts, prompts=tuple(prompts)), held_out)
