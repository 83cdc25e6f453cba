"""Publishing the word index: the adapters as they are now, as a generation.

What changed since the generation before is written beside what did not, whose files are shared with it: after a sync
that changed a hundred adapters of a million, a hundred are read. Does not belong here: the files (`index`).
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, select

from warehouse.engine import Database
from warehouse.evaluation.spot import spot_check
from warehouse.generations import (
    FILES,
    Manifest,
    Published,
    at_hand,
    current,
    digests,
    is_kept,
    publish,
    require_whole,
)
from warehouse.ingest.progress import Progress, Silence
from warehouse.lexical import index, tokens
from warehouse.lexical.tokens import FIELDS, Document, Field
from warehouse.models import Adapter, utc_now
from warehouse.settings import Settings
from warehouse.vectors.loading import load_known
from warehouse.vectors.stored import batched

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

KIND = "indices/lexical"
VERSION = 2
"""Changed whenever the files of the same terms would differ. From 2 on, example prompts are counted."""
INDEX_FOLDER = "index"
STATES_FILE = "adapters.npy"
"""Numbers of the adapters in the index, ascending, and 64 bits of what each one's content was."""
PROMPTS_FILE = "prompts.npy"
"""How many example prompts each of them has, uint16."""
_CHUNK = 500
_ANEW_ABOVE = 0.25
"""With more than this share of the adapters changed, an index is written anew: old terms would only be in its way."""
_log = logging.getLogger(__name__)

_TELLING = 50
"""Prompts that a comparison of two generations needs."""


class QualityFellError(RuntimeError):
    """A word index finds adapters much worse than the one before; it was not published. `manifest` is what it said."""

    def __init__(self, manifest: Manifest, before: Mapping[str, Any], drop: float) -> None:
        now, then = manifest["quality"]["recall@10"]["value"], before["recall@10"]["value"]
        super().__init__(
            f"prompts find their adapter among the first ten in {now:.3f} of the cases, before in {then:.3f}: that is "
            f"more than {drop:.3f} less, and the generation before is still in use. Raise LORA_MANAGER_QUALITY_DROP to "
            "accept it"
        )
        self.manifest = manifest


@dataclass(frozen=True, slots=True)
class _Difference:
    """Numbers of adapters, ascending."""

    added: list[int]
    """New, or changed."""
    removed: list[int]
    """Changed, or gone."""


def publish_words(
    database: Database, settings: Settings, *, progress: Progress | None = None, force: bool = False
) -> Published:
    """Make the index of the adapters as they are now the current generation.

    Nothing is written where the current generation was made of the same adapters with the same content, unless forced.

    Raises:
        QualityFellError: prompts find their adapters so much worse than in the generation before, which stays in use.
        PublicationError: the disk is full or not writable; the generation before stays in use.
    """
    shown = progress or Silence()
    with database.read() as connection:
        read_at = utc_now()
        states = _states(connection)
        before = current(database, settings, KIND)
        usable = None if force or before is None or not _is_usable(database, settings, before) else before
        old = _none() if usable is None else load_states(usable.path)
        difference = _compare(old, states)
        if usable is not None and not difference.added and not difference.removed and is_kept(settings, usable):
            return usable
        if len(difference.added) + len(difference.removed) > _ANEW_ABOVE * len(states):
            usable, difference = None, _Difference(states["number"].tolist(), [])
        return publish(
            database,
            settings,
            KIND,
            lambda folder: _judged(
                {
                    **_build(connection, folder, usable, difference, states, shown),
                    # Before the adapters were: whatever changed later is looked for beside the index.
                    "read_at": read_at.isoformat(),
                },
                before,
                settings.quality_drop,
            ),
        )


def _judged(manifest: Manifest, before: Published | None, drop: float) -> Manifest:
    """The manifest, if what it says of the quality is no reason to keep the generation before.

    Raises:
        QualityFellError: it is.
    """
    old = None if before is None else before.manifest.get("quality")
    if old is None or min(old["queries"], manifest["quality"]["queries"]) < _TELLING:
        return manifest
    # The upper bound: what chance alone explains stops nothing.
    if manifest["quality"]["recall@10"]["high"] < old["recall@10"]["value"] - drop:
        raise QualityFellError(manifest, old, drop)
    return manifest


def documents(connection: Connection, numbers: Sequence[int], progress: Progress | None = None) -> Iterator[Document]:
    """The documents of adapters, as far as they exist."""
    shown = progress or Silence()
    shown.start(len(numbers), "adapters")
    for part in batched(numbers, _CHUNK):
        for known in load_known(connection, part):
            yield tokens.document(known.pk, known.facts)
        shown.advance(len(part))


def _build(
    connection: Connection,
    folder: Path,
    before: Published | None,
    difference: _Difference,
    states: NDArray[np.void],
    shown: Progress,
) -> Manifest:
    import numpy as np

    started = time.monotonic()
    if before is not None:
        index.clone(before.path / INDEX_FOLDER, _made(folder))
    seen = _Seen()
    index.write(
        _made(folder),
        map(seen.noted, documents(connection, difference.added, shown)),
        removed=difference.removed,
        expected=len(difference.added),
    )
    # What was deleted after the adapters were listed could not be loaded any more.
    gone = np.setdiff1d(difference.added, seen.numbers)
    states = states[~np.isin(states["number"], gone)]
    np.save(folder / STATES_FILE, states)
    np.save(folder / PROMPTS_FILE, seen.prompts(before, states["number"]))
    # What will be served is what was written, so that is what is looked at.
    written = index.LexicalIndex(folder / INDEX_FOLDER)
    count = written.count
    if count != len(states):
        raise OSError(
            f"the word index holds {count:,} adapters after writing {len(states):,}: the disk is not to be trusted"
        )
    means = seen.mean_lengths(before, count)
    found = spot_check(connection, written, means)
    return {
        "n": count,
        "written": len(seen.numbers),
        "anew": before is None,
        "bytes": sum(path.stat().st_size for path in (folder / INDEX_FOLDER).iterdir()),
        "seconds": round(time.monotonic() - started, 3),
        "lengths": means,
        "quality": {"queries": found.queries, "recall@10": asdict(found.recall_at_10)},
        "weights": dict(index.WEIGHTS),
        "source": source(),
        FILES: digests(folder),
    }


class _Seen:
    """The documents that were written: whose they are, and how many terms they have."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self._prompts: list[int] = []
        self._terms: Counter[Field] = Counter()

    def noted(self, document: Document) -> Document:
        """The document, counted."""
        self.numbers.append(document.number)
        self._prompts.append(document.prompts)
        self._terms.update({field: len(terms) for field, terms in document.terms.items()})
        return document

    def prompts(self, before: Published | None, numbers: NDArray[np.int64]) -> NDArray[np.uint16]:
        """How many example prompts adapters have (n,), from the generation before where they were not written now."""
        import numpy as np

        counts = np.zeros(len(numbers), dtype=np.uint16)
        if before is not None:
            old = load_states(before.path)["number"]
            kept = np.flatnonzero(np.isin(numbers, old, assume_unique=True))
            counts[kept] = load_prompts(before.path)[np.searchsorted(old, numbers[kept])]
        written = np.searchsorted(numbers, self.numbers)
        counts[written] = np.minimum(self._prompts, np.iinfo(np.uint16).max)
        return counts

    def mean_lengths(self, before: Published | None, total: int) -> dict[Field, float]:
        """Terms of each field in all documents: those of the generation before count as they did on average."""
        old = {} if before is None else before.manifest["lengths"]
        kept = total - len(self.numbers)
        return {field: round((self._terms[field] + kept * old.get(field, 0.0)) / max(1, total), 3) for field in FIELDS}


def _made(folder: Path) -> Path:
    path = folder / INDEX_FOLDER
    path.mkdir(exist_ok=True)
    return path


def source() -> dict[str, Any]:
    """What an index that is written now is made by, as its manifest says it."""
    return {"version": VERSION, "tokens": tokens.VERSION}


def _is_usable(database: Database, settings: Settings, before: Published) -> bool:
    """Whether what a generation holds would be written in the same way now, and can still be read."""
    if before.manifest.get("source") != source():
        return False
    try:
        at_hand(database, settings, before)
        require_whole(before)
        return index.LexicalIndex(before.path / INDEX_FOLDER).count == len(load_states(before.path))
    except OSError as error:
        _log.warning("the word index %s is damaged and is written anew: %s", before.name, error)
        return False


def _states(connection: Connection) -> NDArray[np.void]:
    import numpy as np

    rows = connection.execute(select(Adapter.pk, Adapter.content_digest).order_by(Adapter.pk))
    return np.fromiter(((pk, content_of(digest)) for pk, digest in rows), dtype=_state_type())


def content_of(digest: str) -> int:
    """64 bits of the digest of an adapter's content."""
    return int(digest[:16] or "0", 16)


def _none() -> NDArray[np.void]:
    import numpy as np

    return np.empty(0, dtype=_state_type())


def _state_type() -> np.dtype[np.void]:
    import numpy as np

    return np.dtype([("number", np.int64), ("content", np.uint64)])


def load_states(folder: Path) -> NDArray[np.void]:
    """The adapters of a generation with their contents; mapped, not read.

    Raises:
        OSError: the file is not there, or damaged.
    """
    states: NDArray[np.void] = _mapped(folder / STATES_FILE, _state_type(), "adapters")
    return states


def load_prompts(folder: Path) -> NDArray[np.uint16]:
    """How many example prompts the adapters of a generation have, in their order; mapped, not read.

    Raises:
        OSError: the file is not there, or damaged.
    """
    import numpy as np

    counts: NDArray[np.uint16] = _mapped(folder / PROMPTS_FILE, np.dtype(np.uint16), "counts")
    return counts


def _mapped(path: Path, kind: np.dtype[Any], what: str) -> NDArray[Any]:
    import numpy as np

    try:
        found: NDArray[Any] = np.load(path, mmap_mode="r")
    except (ValueError, EOFError) as error:
        raise OSError(f"{path} cannot be read: {error}") from error
    if found.dtype != kind:
        raise OSError(f"{path} has {found.dtype} instead of {what}")
    return found


def counts_of(states: NDArray[np.void], counts: NDArray[np.uint16], numbers: Sequence[int]) -> dict[int, int]:
    """Those of given adapters, as far as the generation has them."""
    import numpy as np

    wanted = np.array(numbers, dtype=np.int64)
    known = states["number"]
    places = np.minimum(np.searchsorted(known, wanted), max(0, len(known) - 1))
    if not len(known):
        return {}
    return {
        number: int(counts[place])
        for number, place, found in zip(numbers, places.tolist(), known[places].tolist(), strict=True)
        if found == number
    }


def _compare(old: NDArray[np.void], new: NDArray[np.void]) -> _Difference:
    import numpy as np

    return _Difference(np.setdiff1d(new, old)["number"].tolist(), np.setdiff1d(old, new)["number"].tolist())
