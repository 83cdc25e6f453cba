"""Which row of `adapters` a derived adapter is: the rules by which an adapter keeps its id and its user's state.

Belongs here: matching derived adapters with rows, in memory, for one chunk. Does not: SQL (`writer`).

The rules, in order. A source key that is known is that row. A weight file takes the row that a person registered for
its path; else a row of the same Civitai version that has no file now. A version without a file is one adapter however
many documents list it, and belongs to the row that has the file if one does. What no rule finds is new.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from warehouse.engine import AnyRow
from warehouse.ingest.deriving import FILE_KEY, Derived, DerivedAdapter


@dataclass(slots=True, eq=False)
class Slot:
    """An adapter while a chunk is decided: its row, if it has one, and what was derived for it."""

    source_key: str
    bundle_pk: int | None
    row: AnyRow | None = None
    draft: DerivedAdapter | None = None
    absorbed: list[AnyRow] = field(default_factory=list)
    """Rows that turned out to be this adapter; their user state moves here."""
    is_gone: bool = False
    """Absorbed into another slot."""

    @property
    def version_id(self) -> int | None:
        """Civitai's number of the version, where known."""
        if self.draft is not None:
            found: int | None = self.draft.columns.civitai_version_id
            return found
        return self.row.civitai_version_id if self.row is not None else None

    @property
    def has_file_key(self) -> bool:
        """Whether it is the adapter of a weight file, there or missing."""
        return self.source_key.startswith(FILE_KEY)

    @property
    def is_missing(self) -> bool:
        """Whether nothing on disk stands for it now, as far as decided."""
        if self.draft is not None:
            return bool(self.draft.columns.file_state == "missing")
        return self.row is not None and self.row.file_state == "missing"


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """A version without a file that is not listed again, because another adapter stands for it."""

    bundle_pk: int
    draft: DerivedAdapter
    owner: Slot


class Decisions:
    """The slots of one chunk."""

    def __init__(self, rows: Iterable[AnyRow]) -> None:
        self.slots: list[Slot] = []
        self.elsewhere: list[Elsewhere] = []
        self._by_key: dict[str, Slot] = {}
        self._by_version: dict[int, list[Slot]] = defaultdict(list)
        self._by_bundle: dict[int, list[Slot]] = defaultdict(list)
        self._registered: dict[str, Slot] = {}
        for row in rows:
            slot = Slot(row.source_key, row.bundle_pk, row=row)
            self._add(slot)
            if row.bundle_pk is None:
                self._registered[row.file_path] = slot

    def _add(self, slot: Slot) -> None:
        self.slots.append(slot)
        self._by_key[slot.source_key] = slot
        if slot.version_id is not None:
            self._by_version[slot.version_id].append(slot)
        if slot.bundle_pk is not None:
            self._by_bundle[slot.bundle_pk].append(slot)

    def known(self, source_key: str) -> bool:
        """Whether a row or an earlier draft has this key."""
        return source_key in self._by_key

    def take(self, derived: Derived, is_buried: set[str]) -> None:
        """Decide the adapters of one bundle. Keys in `is_buried` were deleted by the user and stay so."""
        keys = {adapter.source_key for adapter in derived.adapters}
        for adapter in derived.adapters:
            if adapter.source_key in is_buried and adapter.source_key not in self._by_key:
                continue
            if adapter.source_key.startswith(FILE_KEY):
                self._take_file(adapter, derived.pk)
            else:
                self._take_remote(adapter, derived.pk, keys)

    def given_up(self) -> set[int]:
        """Versions that a row stood for and stands for no longer."""
        return {
            slot.row.civitai_version_id
            for slot in self.slots
            if slot.row is not None
            and slot.draft is not None
            and slot.row.civitai_version_id not in (None, slot.version_id)
        }

    def former_bundles(self) -> set[int]:
        """Bundles whose rows went to other bundles: what they list is listed elsewhere now."""
        return {
            row.bundle_pk
            for slot in self.slots
            if slot.draft is not None and not slot.is_gone
            for row in (slot.row, *slot.absorbed)
            if row is not None and row.bundle_pk not in (None, slot.bundle_pk)
        }

    def left_over(self, bundle_pks: Iterable[int]) -> list[Slot]:
        """Rows of these bundles that nothing stands for any more."""
        return [
            slot
            for pk in bundle_pks
            for slot in self._by_bundle[pk]
            if slot.draft is None and not slot.is_gone and slot.bundle_pk == pk
        ]

    def _take_file(self, adapter: DerivedAdapter, bundle_pk: int) -> None:
        own = self._by_key.get(adapter.source_key)
        if own is None:
            own = self._registered.pop(adapter.columns.file_path, None)
        version_id = adapter.columns.civitai_version_id
        rivals = [
            slot
            for slot in self._of_version(version_id, own)
            if not slot.has_file_key or (own is None and slot.is_missing)
        ]
        # A row without a file first: a missing file may come back.
        rival = min(rivals, key=lambda slot: slot.has_file_key, default=None)
        if own is None:
            self._assign(rival or self._new(adapter, bundle_pk), adapter, bundle_pk)
            return
        if rival is not None:
            # Who was known as this version stays; a file that had no name of its own becomes it.
            if own.version_id is None and rival.row is not None:
                own, rival = rival, own
            self._absorb(own, rival)
        self._assign(own, adapter, bundle_pk)

    def _take_remote(self, adapter: DerivedAdapter, bundle_pk: int, keys: set[str]) -> None:
        version_id = adapter.columns.civitai_version_id
        own = self._by_key.get(adapter.source_key)
        others = self._of_version(version_id, own)
        if own is None:
            # A row of this bundle under the name of a document that is gone may be taken, as a missing one may.
            taken = [slot for slot in others if slot.has_file_key or not self._is_free(slot, bundle_pk, keys)]
            if taken:
                self.elsewhere.append(Elsewhere(bundle_pk, adapter, taken[0]))
                return
            own = next(iter(others), None) or self._namesake(adapter, bundle_pk, keys) or self._new(adapter, bundle_pk)
        else:
            owner = next((slot for slot in others if slot.has_file_key), None)
            if owner is not None:
                self._absorb(owner, own)
                self.elsewhere.append(Elsewhere(bundle_pk, adapter, owner))
                return
        self._assign(own, adapter, bundle_pk)

    def _of_version(self, version_id: int | None, own: Slot | None) -> list[Slot]:
        """Everyone else who is this version as far as decided; who was it before and is another now is not."""
        slots = self._by_version.get(version_id, ()) if version_id is not None else ()
        return [slot for slot in slots if slot is not own and not slot.is_gone and slot.version_id == version_id]

    def _is_free(self, slot: Slot, bundle_pk: int, keys: set[str]) -> bool:
        return slot.is_missing or self._is_left(slot, bundle_pk, keys)

    def _is_left(self, slot: Slot, bundle_pk: int, keys: set[str]) -> bool:
        return slot.bundle_pk == bundle_pk and slot.draft is None and slot.source_key not in keys

    def _namesake(self, adapter: DerivedAdapter, bundle_pk: int, keys: set[str]) -> Slot | None:
        """A version without a number whose document was renamed or replaced: the row of this bundle of its name."""
        if adapter.columns.civitai_version_id is not None:
            return None
        for slot in self._by_bundle[bundle_pk]:
            row = slot.row
            if (
                self._is_left(slot, bundle_pk, keys)
                and not slot.has_file_key
                and row is not None
                and (row.name, row.version, row.civitai_version_id)
                == (adapter.columns.name, adapter.columns.version, None)
            ):
                return slot
        return None

    def _new(self, adapter: DerivedAdapter, bundle_pk: int) -> Slot:
        slot = Slot(adapter.source_key, bundle_pk, draft=adapter)
        self._add(slot)
        return slot

    def _assign(self, slot: Slot, adapter: DerivedAdapter, bundle_pk: int) -> None:
        before = slot.version_id
        if slot.source_key != adapter.source_key:
            if self._by_key.get(slot.source_key) is slot:
                del self._by_key[slot.source_key]
            slot.source_key = adapter.source_key
            self._by_key[slot.source_key] = slot
        if slot.bundle_pk != bundle_pk:
            slot.bundle_pk = bundle_pk
            self._by_bundle[bundle_pk].append(slot)
        slot.draft = adapter
        if slot.version_id is not None and slot.version_id != before:
            self._by_version[slot.version_id].append(slot)

    def _absorb(self, survivor: Slot, other: Slot) -> None:
        other.is_gone = True
        if self._by_key.get(other.source_key) is other:
            del self._by_key[other.source_key]
        if other.row is not None:
            survivor.absorbed.append(other.row)
        survivor.absorbed.extend(other.absorbed)


def keys_of(derived: Sequence[Derived]) -> tuple[list[str], list[int], list[str]]:
    """What rows are looked up by: source keys, version ids, paths of files."""
    adapters = [adapter for item in derived for adapter in item.adapters]
    versions = {number for adapter in adapters if (number := adapter.columns.civitai_version_id) is not None}
    paths = {adapter.columns.file_path for adapter in adapters if adapter.source_key.startswith(FILE_KEY)}
    return [adapter.source_key for adapter in adapters], sorted(versions), sorted(paths)
