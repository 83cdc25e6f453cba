"""Weight files and documents that lie apart: which document speaks of a file that has none of its own.

Belongs here: both directions, from files to documents and from documents to files, by stated hash, and by name where a
version states no hash. Does not: what the documents then say (`deriving`).

A bundle that names a version itself is never given foreign documents, and only such a bundle gives its own away: so
bundles cannot make one another due for ever.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

from sqlalchemy import ColumnElement, Connection, Select, and_, func, or_, select, update

from warehouse.civitai import Shape, Verdict
from warehouse.ingest import bulk
from warehouse.ingest.deriving import FILE_KEY, SILENT_SHAPES, Claim, Derived, WeightTask
from warehouse.models import Adapter, Bundle, Document, File, HashClaim

_RANGES: Final = 200
"""Prefixes of one statement."""
_AFTER_HEXADECIMAL: Final = "g"


def bundles_of_documents(connection: Connection, weights: Mapping[int, Sequence[WeightTask]]) -> dict[int, list[int]]:
    """For bundles of weight files that name no version themselves: the bundles whose documents speak of the files."""
    alone = weights.keys() - set(
        connection.execute(_documented(bulk.among(connection, Document.bundle_pk, weights))).scalars()
    )
    by_hash: dict[str, set[int]] = defaultdict(set)
    by_path: dict[str, int] = {}
    for pk in alone:
        for file in weights[pk]:
            by_path[file.path] = pk
            for value in _hashes(file):
                by_hash[value].add(pk)
    found: set[tuple[int, int]] = set()
    if by_hash:
        claims = select(HashClaim.value, HashClaim.bundle_pk).where(bulk.among(connection, HashClaim.value, by_hash))
        found |= {(pk, claim.bundle_pk) for claim in connection.execute(claims) for pk in by_hash[claim.value]}
    if by_path:
        found |= {(by_path[path], claimant) for path, claimant in _by_name(connection, by_path)}
    foreign: dict[int, list[int]] = defaultdict(list)
    for pk, claimant in sorted(found):
        if pk != claimant:
            foreign[pk].append(claimant)
    return foreign


def _by_name(connection: Connection, paths: Collection[str]) -> list[tuple[str, int]]:
    """Paths where a version without a stated hash was expected, and those that were found so before."""
    expected = (
        select(Adapter.file_path, Bundle.pk)
        .join(Bundle, Bundle.pk == Adapter.bundle_pk)
        .where(
            bulk.among(connection, Adapter.file_path, paths),
            Adapter.file_state == "remote",
            Adapter.primary_file_sha256.is_(None),
        )
    )
    keys = [f"{FILE_KEY}{path}" for path in paths]
    # By its key: the path in the row of a file that just moved is the old one.
    before = (
        select(func.substr(Adapter.source_key, len(FILE_KEY) + 1), Document.bundle_pk)
        .join(Document, Document.path == Adapter.json_file_path)
        .where(bulk.among(connection, Adapter.source_key, keys), Document.bundle_pk != Adapter.bundle_pk)
    )
    return [(path, pk) for statement in (expected, before) for path, pk in connection.execute(statement)]


def _documented(condition: ColumnElement[bool]) -> Select[int]:
    """Bundles that have a document which names a version, or says that there is no adapter."""
    return select(Document.bundle_pk).where(
        condition,
        Document.state != "missing",
        Document.verdict != Verdict.NOT_FOUND,
        Document.shape.not_in([*SILENT_SHAPES, Shape.UNKNOWN]),
    )


def _hashes(file: WeightTask) -> Iterable[str]:
    """Every spelling under which a document may state this file."""
    if file.sha256:
        yield from (file.sha256, file.sha256[:10])
    if file.payload_sha256:
        yield from (file.payload_sha256, file.payload_sha256[:12])
    if file.blake3:
        yield file.blake3


def wake_files(
    connection: Connection, derived: Sequence[Derived], dropped: Collection[Claim], dropped_versions: Collection[int]
) -> None:
    """Make files due of which the documents of derived bundles speak, or spoke before.

    That is what `dropped` claims say, and versions that a file elsewhere stood for and that they list no more.
    """
    claims = {*dropped, *(claim for item in derived for claim in item.claims)}
    paths = {
        adapter.columns.file_path
        for item in derived
        for adapter in item.adapters
        if adapter.columns.file_state == "remote" and adapter.columns.primary_file_sha256 is None
    }
    files: set[int] = set()
    for condition in _conditions(connection, claims, paths):
        files.update(connection.execute(select(File.bundle_pk).where(condition)).scalars())
    if dropped_versions:
        standing = select(Adapter.bundle_pk).where(
            bulk.among(connection, Adapter.civitai_version_id, dropped_versions), Adapter.file_pk.is_not(None)
        )
        files.update(pk for pk in connection.execute(standing).scalars() if pk is not None)
    if not files:
        return
    files -= set(connection.execute(_documented(bulk.among(connection, Document.bundle_pk, files))).scalars())
    if files:
        connection.execute(
            update(Bundle).where(bulk.among(connection, Bundle.pk, files)).values(revision=Bundle.revision + 1)
        )


def _conditions(
    connection: Connection, claims: Collection[Claim], paths: Collection[str]
) -> Iterator[ColumnElement[bool]]:
    if paths:
        yield bulk.among(connection, File.path, paths)
    for kind, column in (("sha256", File.sha256), ("blake3", File.blake3)):
        if values := [value for value, stated in claims if stated == kind]:
            yield bulk.among(connection, column, values)
    for kind, column in (("autov2", File.sha256), ("autov3", File.payload_sha256)):
        prefixes = [value for value, stated in claims if stated == kind]
        for start in range(0, len(prefixes), _RANGES):
            yield or_(
                *(
                    and_(column >= prefix, column < prefix + _AFTER_HEXADECIMAL)
                    for prefix in prefixes[start : start + _RANGES]
                )
            )
