"""One transaction's worth of derived bundles, written: adapters, their words and tags, counters, findings, claims.

Belongs here: SQL in bulk, and names made distinct. Does not: deriving (`deriving`), whose row is whose (`identity`).
What was derived before with the same outcome is not written again, so a rebuild that changes nothing costs reads.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement, Connection, delete, select, update
from sqlalchemy import func as sql

from warehouse import facets
from warehouse.catalog.effects import effects_of
from warehouse.civitai import html_to_text
from warehouse.engine import AnyRow
from warehouse.facets import COLUMN_FACETS, FacetKey
from warehouse.fulltext import segment
from warehouse.ids import new_ids
from warehouse.ingest import bulk, foreign, naming, tombstones, userstate
from warehouse.ingest.deriving import (
    BUILD_PRODUCER,
    INSPECT_PRODUCER,
    Columns,
    Derived,
    DerivedAdapter,
    DerivedFinding,
    InspectionRow,
)
from warehouse.ingest.identity import Decisions, Elsewhere, Slot, keys_of
from warehouse.ingest.naming import NameKey
from warehouse.models import (
    Adapter,
    AdapterDetail,
    AdapterTag,
    Bundle,
    Finding,
    HashClaim,
    Inspection,
    utc_now,
)

ORIGIN: Final = "adapters"
NAME_CLASH: Final = "name_clash"
VERSION_ELSEWHERE: Final = "version_elsewhere"
_LIGHT: Final = (
    "pk",
    "id",
    "source_key",
    "bundle_pk",
    "file_pk",
    "name",
    "version",
    "preview_path",
    "file_path",
    "civitai_version_id",
    "derived_digest",
    *COLUMN_FACETS,
    *(name for name in userstate.COLUMNS if name not in COLUMN_FACETS),
)
"""Columns that decide; the wide ones are read only where a user edited some."""
_FRESH: Final[Mapping[str, Any]] = {
    "producer": BUILD_PRODUCER,
    "weight_by_user": False,
    "active": False,
    "user_tags": "[]",
    "user_fields": "[]",
}
"""What every new row begins with."""
_INSERTED: Final = (
    *Columns.__struct_fields__,
    "source_key",
    "bundle_pk",
    "file_pk",
    "preview_path",
    "derived_digest",
    "id",
    "weight",
    "favorite",
    *_FRESH,
    "last_ingested_at",
    "created_at",
    "updated_at",
)
"""Columns of a new row, in the order in which they are written."""
_MOMENTS: Final = tuple(map(_INSERTED.index, ("published_at", "json_file_mtime")))
Named = tuple[str, str | None]
"""(name, version) that a slot is written under."""


@dataclass(frozen=True, slots=True)
class Bundled:
    """What the writer knows of a bundle beside what was derived."""

    preview_path: str | None
    has_weight: bool


@dataclass(slots=True)
class Written:
    """What a chunk came to."""

    inserted: int = 0
    updated: int = 0
    skipped: int = 0
    missing: int = 0
    deleted: int = 0
    findings: int = 0

    @property
    def changed(self) -> int:
        """Rows of adapters that were written."""
        return self.inserted + self.updated + self.missing + self.deleted


def write(
    connection: Connection, derived: Sequence[Derived], bundled: Mapping[int, Bundled], hollow: Sequence[int]
) -> Written:
    """Write what was derived of some bundles. `hollow` bundles have nothing on disk any more: their adapters stay,
    as missing."""
    return _Writer(connection, derived, bundled, hollow).run()


class _Writer:
    def __init__(
        self, connection: Connection, derived: Sequence[Derived], bundled: Mapping[int, Bundled], hollow: Sequence[int]
    ) -> None:
        self._connection = connection
        self._derived = derived
        self._bundled = bundled
        self._hollow = hollow
        self._now = utc_now()
        self._written = Written()
        self._facets: Counter[FacetKey] = Counter()
        self._clashes: list[tuple[int, DerivedFinding]] = []
        self._dropped_versions: set[int] = set()

    def run(self) -> Written:
        # A fault of ours yields no adapters, which must not look like adapters that are gone.
        sound = [item for item in self._derived if not any(found.code == "internal_error" for found in item.findings)]
        decisions = Decisions(self._rows())
        buried = self._buried(sound, decisions)
        for item in sound:
            decisions.take(item, buried)
        upsert_inspections(self._connection, [row for item in self._derived for row in item.inspections])
        self._delete_absorbed(decisions)
        self._write_slots([slot for slot in decisions.slots if slot.draft is not None and not slot.is_gone])
        left = decisions.left_over([*(item.pk for item in sound), *self._hollow])
        self._mark_missing([slot.row for slot in left if slot.row is not None])
        self._write_findings(decisions)
        self._write_claims()
        self._wake_heirs(left, decisions)
        facets.apply(self._connection, self._facets)
        self._finish_bundles()
        return self._written

    def _among(self, column: Any, values: Collection[Any]) -> ColumnElement[bool]:
        return bulk.among(self._connection, column, values)

    # What is known.

    def _rows(self) -> list[AnyRow]:
        keys, versions, paths = keys_of(self._derived)
        pks = [*(item.pk for item in self._derived), *self._hollow]
        found: set[int] = set()
        for condition in (
            self._among(Adapter.bundle_pk, pks),
            self._among(Adapter.source_key, keys),
            self._among(Adapter.civitai_version_id, versions),
            self._among(Adapter.file_path, paths) & Adapter.bundle_pk.is_(None),
        ):
            found.update(self._connection.execute(select(Adapter.pk).where(condition)).scalars())
        columns = [getattr(Adapter, name) for name in _LIGHT]
        # Locked, so that what a client edits meanwhile is not overwritten; in order, so that nobody deadlocks.
        statement = select(*columns).where(self._among(Adapter.pk, found)).order_by(Adapter.pk).with_for_update()
        return list(self._connection.execute(statement).all())

    def _buried(self, derived: Sequence[Derived], decisions: Decisions) -> set[str]:
        bundles = {
            adapter.source_key: item.pk
            for item in derived
            for adapter in item.adapters
            if not decisions.known(adapter.source_key)
        }
        return tombstones.buried(self._connection, bundles) if bundles else set()

    # Adapters.

    def _write_slots(self, slots: Sequence[Slot]) -> None:
        fresh: list[tuple[Slot, Named]] = []
        stale: list[tuple[Slot, Named]] = []
        for slot, named in zip(slots, self._assign_names(slots), strict=True):
            if slot.row is None:
                fresh.append((slot, named))
            elif self._is_current(slot, named[1]):
                self._written.skipped += 1
            else:
                stale.append((slot, named))
        words: list[_Words] = []
        if fresh:
            words += self._insert(fresh)
        if stale:
            words += self._update(stale)
        self._write_words(words)

    def _is_current(self, slot: Slot, version: str | None) -> bool:
        row, draft = slot.row, slot.draft
        assert row is not None
        assert draft is not None
        return (
            row.derived_digest == draft.digest
            and row.source_key == slot.source_key
            and (row.bundle_pk, row.file_pk, row.version) == (slot.bundle_pk, draft.file_pk, version)
            and row.preview_path == self._preview(slot)
            and not slot.absorbed
        )

    def _preview(self, slot: Slot) -> str | None:
        """A preview beside a weight file is of that file; one beside documents alone is of all they describe."""
        assert slot.bundle_pk is not None
        bundle = self._bundled[slot.bundle_pk]
        return bundle.preview_path if slot.has_file_key or not bundle.has_weight else None

    def _assign_names(self, slots: Sequence[Slot]) -> list[Named]:
        """A name and a version for each slot, so that they are unique; what a row once got, it keeps."""
        leaving = {
            slot.row.pk: naming.key(slot.row.name, slot.row.version)
            for slot in slots
            if slot.row is not None and _leaves_name(slot)
        }
        holders = self._holders([(slot, [_wanted_version(slot)]) for slot in slots])
        holders = {key: pk for key, pk in holders.items() if pk not in leaving}
        clashing = [slot for slot in slots if not self._is_free(slot, _wanted_version(slot), holders)]
        others = self._holders([(slot, naming.candidates(slot.draft)) for slot in clashing if slot.draft is not None])
        holders |= {key: pk for key, pk in others.items() if pk not in leaving}
        assigned: list[Named] = []
        for slot in slots:
            name, version = self._choose(slot, holders)
            assigned.append((name, version))
            draft, row = slot.draft, slot.row
            assert draft is not None
            # What a row keeps stays taken until the transaction ends; -1 is a row that has no number yet.
            holders.setdefault(naming.key(name, version), row.pk if row is not None else -1)
            if version != draft.columns.version and not _is_users(slot, "version"):
                self._report_clash(slot, name, draft.columns.version, version)
        self._make_way([pk for pk, key in leaving.items() if key in holders])
        return assigned

    def _make_way(self, pks: Sequence[int]) -> None:
        """Take rows out of the names that others get now, until they are written under their new ones themselves."""
        if pks:
            self._connection.execute(update(Adapter).where(self._among(Adapter.pk, pks)).values(version=Adapter.id))

    def _is_free(self, slot: Slot, version: str | None, holders: Mapping[NameKey, int]) -> bool:
        """Whether nobody else has the slot's name in a version, in the database or in this chunk."""
        own = slot.row.pk if slot.row is not None else None
        return holders.get(naming.key(_wanted_name(slot), version), own) == own

    def _choose(self, slot: Slot, holders: Mapping[NameKey, int]) -> Named:
        draft, row = slot.draft, slot.row
        assert draft is not None
        name, plain = _wanted_name(slot), draft.columns.version
        if row is not None:
            version: str | None = row.version
            if _is_users(slot, "version"):
                # A version set by hand stays; the documents' new name waits where another adapter has the two.
                return (name if self._is_free(slot, version, holders) else row.name), version
            if row.name == name and version != plain and version in naming.candidates(draft):
                return name, version
        if self._is_free(slot, plain, holders):
            return name, plain
        options = list(naming.candidates(draft))
        return name, next((option for option in options[:-1] if self._is_free(slot, option, holders)), options[-1])

    def _holders(self, wanted: Iterable[tuple[Slot, Iterable[str | None]]]) -> dict[NameKey, int]:
        """Who has these names and versions now."""
        keys = {naming.key(_wanted_name(slot), version) for slot, versions in wanted for version in versions}
        rows = self._connection.execute(
            select(Adapter.pk, Adapter.name, Adapter.version).where(
                self._among(Adapter.name, {name for name, _ in keys})
            )
        )
        found = {naming.key(row.name, row.version): row.pk for row in rows}
        return {key: pk for key, pk in found.items() if key in keys}

    def _report_clash(self, slot: Slot, name: str, plain: str | None, version: str | None) -> None:
        assert slot.draft is not None
        assert slot.bundle_pk is not None
        path = slot.draft.columns.file_path
        stated = f"{name!r} in version {plain!r}" if plain else f"{name!r} without a version"
        finding = DerivedFinding(
            NAME_CLASH,
            "info",
            path,
            f"{path}: another adapter is called {stated} too, so this one is listed as version {version!r}. "
            "Rename either in its document, or edit the version by hand, if you want another name.",
            msgspec.json.encode({"name": name, "original_version": plain, "version": version}).decode(),
        )
        self._clashes.append((slot.bundle_pk, finding))

    def _columns(self, slot: Slot, named: Named) -> Columns:
        """What was derived for a slot, under the name and version that it is written under."""
        assert slot.draft is not None
        columns, (name, version) = slot.draft.columns, named
        if version != columns.version:
            extra = msgspec.json.decode(columns.extra)
            changed = msgspec.json.encode({**extra, "original_version": columns.version}).decode()
            columns = msgspec.structs.replace(columns, extra=changed, version=version)
        return columns if name == columns.name else msgspec.structs.replace(columns, name=name)

    def _values(self, slot: Slot, named: Named) -> dict[str, Any]:
        assert slot.draft is not None
        return {
            **msgspec.structs.asdict(self._columns(slot, named)),
            "source_key": slot.source_key,
            "bundle_pk": slot.bundle_pk,
            "file_pk": slot.draft.file_pk,
            "preview_path": self._preview(slot),
            "derived_digest": slot.draft.digest,
            "producer": BUILD_PRODUCER,
            "last_ingested_at": self._now,
            "updated_at": self._now,
        }

    def _insert(self, slots: Sequence[tuple[Slot, Named]]) -> list["_Words"]:
        now = bulk.bound(self._connection, self._now)
        fresh = (*_FRESH.values(), now, now, now)
        identities = new_ids(len(slots))
        rows = [self._row(*slot, identity, fresh) for slot, identity in zip(slots, identities, strict=True)]
        before = self._connection.execute(select(sql.coalesce(sql.max(Adapter.pk), 0))).scalar_one()
        bulk.insert_rows(self._connection, bulk.table_of(Adapter), _INSERTED, rows)
        # Others may insert meanwhile, so the numbers are looked up, not counted.
        numbered = self._connection.execute(select(Adapter.source_key, Adapter.pk).where(Adapter.pk > before))
        pk_of = dict(numbered.all())
        self._written.inserted += len(rows)
        words = [
            _Words.of(pk_of[slot.source_key], slot.draft, named, is_stale=False)
            for slot, named in slots
            if slot.draft is not None
        ]
        counted = {"active": [False] * len(words)} | {
            name: [getattr(item.draft.columns, name) for item in words] for name in COLUMN_FACETS if name != "active"
        }
        self._facets.update(facets.tally(counted, (tag for item in words for tag in item.tags)))
        return words

    def _row(self, slot: Slot, named: Named, identity: str, fresh: tuple[Any, ...]) -> tuple[Any, ...]:
        """The values of `_INSERTED` for an adapter that is new."""
        draft = slot.draft
        assert draft is not None
        row: list[Any] = [*msgspec.structs.astuple(self._columns(slot, named))]
        for place in _MOMENTS:
            row[place] = bulk.bound(self._connection, row[place])
        return (
            *row,
            slot.source_key,
            slot.bundle_pk,
            draft.file_pk,
            self._preview(slot),
            draft.digest,
            identity,
            1.0 if draft.weight is None else draft.weight,
            bool(draft.favorite),
            *fresh,
        )

    def _update(self, slots: Sequence[tuple[Slot, Named]]) -> list["_Words"]:
        old_tags = self._tags([slot.row.pk for slot, _ in slots if slot.row is not None])
        edited = self._edited(slots)
        plain: list[dict[str, Any]] = []
        words = []
        for slot, named in slots:
            row, draft = slot.row, slot.draft
            assert row is not None
            assert draft is not None
            values = self._values(slot, named)
            if not row.weight_by_user:
                values["weight"] = 1.0 if draft.weight is None else draft.weight
            else:
                values["weight"] = row.weight
            if row.pk in edited:
                effective = {**values, **edited[row.pk]}
                own, values["content_digest"] = _Words.under(row, draft, effective)
                changed = {name: value for name, value in values.items() if name not in edited[row.pk]}
                bulk.update(self._connection, bulk.table_of(Adapter), "pk", [{"pk": row.pk, **changed}])
            else:
                effective = values
                own = _Words.of(row.pk, draft, named, is_stale=True)
                plain.append({"pk": row.pk, **values})
            words.append(own)
            self._facets.subtract(facets.keys_of(dict(row._mapping), old_tags.get(row.pk, ())))
            self._facets.update(facets.keys_of({**effective, "active": row.active}, own.tags))
        bulk.update(self._connection, bulk.table_of(Adapter), "pk", plain)
        self._written.updated += len(slots)
        return words

    def _edited(self, slots: Sequence[tuple[Slot, Named]]) -> dict[int, dict[str, Any]]:
        """Of rows that a user touched: the values of the columns that are theirs."""
        pks = [slot.row.pk for slot, _ in slots if slot.row is not None and userstate.is_touched(slot.row)]
        if not pks:
            return {}
        rows = self._connection.execute(select(Adapter.__table__).where(self._among(Adapter.pk, pks)))
        return {
            row.pk: {name: row._mapping[name] for name in userstate.kept(row.user_fields) if name in row._mapping}
            for row in rows
        }

    def _tags(self, pks: Sequence[int]) -> dict[int, list[str]]:
        tags: dict[int, list[str]] = {}
        for pk, tag in self._connection.execute(
            select(AdapterTag.adapter_pk, AdapterTag.tag).where(self._among(AdapterTag.adapter_pk, pks))
        ):
            tags.setdefault(pk, []).append(tag)
        return tags

    def _write_words(self, words: Sequence["_Words"]) -> None:
        """Details, tags and the row of the full-text index of inserted and updated adapters."""
        connection = self._connection
        pks = [item.pk for item in words]
        details: bulk.Columns = {
            "adapter_pk": pks,
            "provenance": [item.draft.provenance for item in words],
            "description_text": [item.description_text for item in words],
            "notes": [item.draft.notes for item in words],
            "examples": [item.draft.examples for item in words],
            "strengths": [item.draft.strengths for item in words],
        }
        bulk.insert_columns(connection, bulk.table_of(AdapterDetail), details, conflict="replace")
        stale = [item.pk for item in words if item.is_stale]
        if stale:
            connection.execute(delete(AdapterTag).where(self._among(AdapterTag.adapter_pk, stale)))
        tags: bulk.Columns = {
            "adapter_pk": [item.pk for item in words for _ in item.tags],
            "tag": [tag for item in words for tag in item.tags],
        }
        bulk.insert_columns(connection, bulk.table_of(AdapterTag), tags)
        # The full-text index is rewritten with its row, which costs more than the comparison.
        search = {name: [item.search[name] for item in words] for name in ("name", "triggers", "tags", "body")}
        bulk.insert_words(connection, {"adapter_pk": pks, **search})

    def _delete_absorbed(self, decisions: Decisions) -> None:
        """Rows that became part of others go; what a user made of them is carried over."""
        gone: list[AnyRow] = []
        for slot in decisions.slots:
            if slot.is_gone or not slot.absorbed:
                continue
            gone.extend(slot.absorbed)
            if slot.row is not None:
                others = [row.pk for row in slot.absorbed]
                self._facets.update(userstate.carry_over(self._connection, slot.row.pk, others))
                columns = [getattr(Adapter, name) for name in _LIGHT]
                slot.row = self._connection.execute(select(*columns).where(Adapter.pk == slot.row.pk)).one()
        if not gone:
            return
        pks = [row.pk for row in gone]
        tags = self._tags(pks)
        for row in gone:
            self._facets.subtract(facets.keys_of(dict(row._mapping), tags.get(row.pk, ())))
        self._facets.subtract(facets.vectors_of(self._connection, pks))
        self._connection.execute(delete(Adapter).where(Adapter.pk.in_(pks)))
        self._written.deleted += len(gone)

    def _mark_missing(self, rows: Sequence[AnyRow]) -> None:
        due = [row for row in rows if row.file_state != "missing"]
        if not due:
            return
        for row in due:
            self._facets["file_state", row.file_state] -= 1
            self._facets["file_state", "missing"] += 1
        self._connection.execute(
            update(Adapter)
            .where(self._among(Adapter.pk, [row.pk for row in due]))
            .values(file_state="missing", derived_digest=None, updated_at=self._now, last_ingested_at=self._now)
        )
        self._written.missing += len(due)

    # Beside the adapters.

    def _write_findings(self, decisions: Decisions) -> None:
        pks = [*(item.pk for item in self._derived), *self._hollow]
        theirs = self._among(Finding.bundle_pk, pks) & (Finding.origin == ORIGIN)
        listed = self._connection.execute(
            select(Finding.data).where(theirs, Finding.code == VERSION_ELSEWHERE)
        ).scalars()
        before = {data["civitai_version_id"] for data in listed if data is not None}
        now = {item.draft.columns.civitai_version_id for item in decisions.elsewhere}
        self._dropped_versions = before - now - {None}
        self._connection.execute(delete(Finding).where(theirs))
        found = [(item.pk, finding) for item in self._derived for finding in item.findings]
        found += self._clashes
        found += [(item.bundle_pk, _elsewhere_finding(item)) for item in decisions.elsewhere]
        rows = [
            {
                "bundle_pk": pk,
                "origin": ORIGIN,
                "code": finding.code,
                "severity": finding.severity,
                "path": finding.path,
                "message": finding.message,
                "data": finding.data,
                "found_at": self._now,
            }
            for pk, finding in found
        ]
        bulk.insert(self._connection, bulk.table_of(Finding), rows)
        self._written.findings += len(found)

    def _write_claims(self) -> None:
        pks = [*(item.pk for item in self._derived), *self._hollow]
        theirs = self._among(HashClaim.bundle_pk, pks)
        before = {
            (bundle_pk, value): kind
            for bundle_pk, value, kind in self._connection.execute(
                select(HashClaim.bundle_pk, HashClaim.value, HashClaim.kind).where(theirs)
            )
        }
        self._connection.execute(delete(HashClaim).where(theirs))
        rows = [
            {"value": value, "bundle_pk": item.pk, "kind": kind}
            for item in self._derived
            for value, kind in item.claims
        ]
        bulk.insert(self._connection, bulk.table_of(HashClaim), rows)
        kept = {(row["bundle_pk"], row["value"]) for row in rows}
        dropped = [(value, kind) for (bundle_pk, value), kind in before.items() if (bundle_pk, value) not in kept]
        foreign.wake_files(self._connection, self._derived, dropped, self._dropped_versions)

    def _wake_heirs(self, left: Sequence[Slot], decisions: Decisions) -> None:
        """Bundles that list a version whose adapter just went missing or became another may list it themselves now.

        So are bundles due whose adapter went to another one: they note where it is listed, to be found again by it.
        """
        versions = {slot.version_id for slot in left if slot.row is not None and slot.row.file_state != "missing"}
        versions.discard(None)
        versions |= decisions.given_up()
        heirs = decisions.former_bundles()
        if versions:
            listing = select(Finding.bundle_pk).where(
                Finding.code == VERSION_ELSEWHERE,
                Finding.data["civitai_version_id"].as_integer().in_(sorted(versions)),  # type: ignore[type-var]
            )
            heirs.update(pk for pk in self._connection.execute(listing).scalars() if pk is not None)
        if heirs:
            self._connection.execute(
                update(Bundle).where(self._among(Bundle.pk, heirs)).values(revision=Bundle.revision + 1)
            )

    def _finish_bundles(self) -> None:
        built = [{"pk": item.pk, "built_revision": item.revision, "producer": BUILD_PRODUCER} for item in self._derived]
        bulk.update(self._connection, bulk.table_of(Bundle), "pk", built)
        if self._hollow:
            self._connection.execute(
                update(Bundle)
                .where(self._among(Bundle.pk, self._hollow))
                .values(built_revision=Bundle.revision, producer=BUILD_PRODUCER)
            )


def _is_users(slot: Slot, column: str) -> bool:
    """Whether a user set a column of the slot's row."""
    return slot.row is not None and column in slot.row.user_fields


def _wanted_name(slot: Slot) -> str:
    """The name that a slot should have: the user's, else the documents'."""
    assert slot.draft is not None
    name: str = slot.row.name if slot.row is not None and _is_users(slot, "name") else slot.draft.columns.name
    return name


def _wanted_version(slot: Slot) -> str | None:
    """The version that a slot should have: the user's, else the documents'."""
    assert slot.draft is not None
    is_users = slot.row is not None and _is_users(slot, "version")
    version: str | None = slot.row.version if slot.row is not None and is_users else slot.draft.columns.version
    return version


def _leaves_name(slot: Slot) -> bool:
    """Whether a row will be written under another name and version than it has."""
    row, draft = slot.row, slot.draft
    if row is None or draft is None or not {"name", "version"}.isdisjoint(row.user_fields):
        return False
    held, name = naming.key(row.name, row.version), draft.columns.name
    return all(held != naming.key(name, version) for version in naming.candidates(draft))


def upsert_inspections(connection: Connection, inspections: Sequence[InspectionRow]) -> None:
    """Write what headers tell; a file has one inspection, of its last state."""
    now = utc_now()
    rows = [{**msgspec.structs.asdict(row), "producer": INSPECT_PRODUCER, "inspected_at": now} for row in inspections]
    bulk.insert(connection, bulk.table_of(Inspection), rows, conflict="replace")


def _elsewhere_finding(elsewhere: Elsewhere) -> DerivedFinding:
    columns, slot = elsewhere.draft.columns, elsewhere.owner
    owner = slot.draft.columns.file_path if slot.draft is not None else slot.row.file_path if slot.row else "?"
    document = columns.json_file_path
    return DerivedFinding(
        VERSION_ELSEWHERE,
        "info",
        document,
        f"{document}: version {columns.version or '?'} of {columns.name} is listed once already, for {owner}.",
        msgspec.json.encode({"civitai_version_id": columns.civitai_version_id}).decode(),
    )


@dataclass(frozen=True, slots=True)
class _Words:
    """What is searched of one adapter."""

    pk: int
    draft: DerivedAdapter
    tags: list[str]
    search: dict[str, str]
    description_text: str | None
    is_stale: bool
    """Whether the adapter has tags already."""

    @classmethod
    def of(cls, pk: int, draft: DerivedAdapter, named: Named, *, is_stale: bool) -> "_Words":
        """The words of documents alone, of an adapter that is written under a name and version."""
        search, (name, version) = draft.search, named
        if version != draft.columns.version:
            search = {**search, "name": segment(f"{name} {version}" if version else name)}
        return cls(pk, draft, draft.tags, search, draft.description_text, is_stale)

    @classmethod
    def under(cls, row: AnyRow, draft: DerivedAdapter, values: Mapping[str, Any]) -> tuple["_Words", str]:
        """The words of documents under those of the user, and the digest of it all; `values` are those in force."""
        decoded = {
            **values,
            **{name: _decoded(values[name]) for name in ("tags", "trained_words", "triggers", "extra")},
        }
        state = {name: getattr(row, name) for name in ("user_tags", "user_notes")}
        text = draft.description_text
        if "description" in row.user_fields:
            text = html_to_text(values["description"] or "")
        effects = effects_of(
            {**values, **decoded, **state},
            description_text=text,
            notes=draft.notes,
            examples=msgspec.json.decode(draft.examples),
        )
        words = cls(row.pk, draft, effects.tags, effects.search, text, is_stale=True)
        return words, effects.content_digest


def _decoded(value: Any) -> Any:
    return msgspec.json.decode(value) if isinstance(value, str) else value
