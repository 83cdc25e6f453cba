"""What lies in the folders now, in temporary tables beside the rows of what lay there before, and how they differ.

Belongs here: the comparison, in SQL, so that its memory does not grow with the library. Does not: the walk, and what
is done about a difference (`scan`, `plan`).
"""

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum
from itertools import groupby, islice
from typing import Any

from msgspec.structs import astuple
from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    Connection,
    Integer,
    MetaData,
    Select,
    String,
    Table,
    Text,
    and_,
    bindparam,
    case,
    func,
    insert,
    literal,
    not_,
    or_,
    select,
    text,
    union_all,
    update,
)

from warehouse.engine import AnyRow, Session
from warehouse.ingest import bulk
from warehouse.ingest.elements import ElementKind, classify
from warehouse.ingest.walk import Entry, Obstacle, Walk
from warehouse.models import Bundle, Document, File
from warehouse.models.library import Pk

_BATCH = 2_000


class Change(StrEnum):
    """How a file differs from the row of its path."""

    NEW = "new"
    CHANGED = "changed"
    BACK = "back"
    REBUNDLED = "rebundled"
    MOVED = "moved"
    VANISHED = "vanished"


_metadata = MetaData()
FOUND = Table(
    "scan_found",
    _metadata,
    Column("kind", String(16), nullable=False),
    Column("directory", Text, nullable=False),
    Column("stem", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("inode", BigInteger, nullable=False),
    Column("rank", Integer, nullable=False),
    Column("civitdl_key", Text),
    prefixes=["TEMPORARY"],
)
"""Every file that the walk found: entries of `walk`."""
GONE = Table(
    "scan_gone",
    _metadata,
    Column("kind", String(16), nullable=False),
    Column("row_pk", BigInteger, nullable=False),
    Column("path", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("inode", BigInteger),
    Column("state", String(16), nullable=False),
    prefixes=["TEMPORARY"],
)
"""Every row whose file the walk should have found and did not."""
CHANGES = Table(
    "scan_changes",
    _metadata,
    Column("seq", Pk, primary_key=True, autoincrement=True),
    Column("kind", String(16), nullable=False),
    Column("change", String(16), nullable=False),
    Column("path", Text, nullable=False),
    Column("row_pk", BigInteger, comment="The row that stands for the file"),
    Column("old_path", Text, comment="Where a moved or vanished file was"),
    prefixes=["TEMPORARY"],
)
"""What differs, in the order in which it is applied."""
_INDEXES = {
    # Made after the rows, which is faster than keeping them true meanwhile.
    "scan_found": ("(path)", "(civitdl_key) WHERE civitdl_key IS NOT NULL"),
    "scan_gone": ("(size, mtime_ns)",),
}


def below(column: Any, folder: str) -> ColumnElement[bool]:
    """Whether a path is a folder or lies inside it. Not LIKE: folders have any character in their names."""
    prefix = folder.rstrip("/") + "/"
    return or_(column == folder, func.substr(column, 1, len(prefix)) == prefix)


def below_any(column: Any, folders: Iterable[str]) -> ColumnElement[bool]:
    """Whether a path is one of the folders or lies inside one."""
    return or_(literal(0) == 1, *(below(column, folder) for folder in folders))


def stage(session: Session, walk: Walk, *, believe_empty: bool = False) -> None:
    """Consume a walk into the temporary tables and compare it with the rows.

    A root without a single file is taken for a disk that is not mounted, and nothing below it for vanished, unless
    `believe_empty`.
    """
    with session.temporary() as connection:
        for table in (FOUND, GONE, CHANGES):
            table.create(connection)
    entries = walk.entries()
    while batch := list(islice(entries, _BATCH)):
        with session.temporary() as connection:
            bulk.insert_rows(connection, FOUND, Entry.__struct_fields__, [*map(astuple, batch)])
    with session.temporary() as connection:
        _index(connection, FOUND)
        _join_civitdl(connection)
        if not believe_empty:
            walk.obstacles.extend(_unmounted(root) for root, count in walk.found.items() if count == 0)
        scope = _Scope(walk)
        _fill_gone(connection, scope)
        _index(connection, GONE)
        _find_moves(connection)
        # Before what is new: whoever looks for moved content compares when a file was lost with when one appeared.
        _find_vanished(connection)
        _find_changes(connection)


def _unmounted(root: str) -> Obstacle:
    return Obstacle(
        "root_empty",
        root,
        f"{root}: no weight file and no metadata document in it. What is known of it stays as it was; mount the disk, "
        "or sync with --force if it was emptied on purpose.",
    )


class _Scope:
    """Which rows the walk could speak of: those below its roots, without what it could not look at."""

    def __init__(self, walk: Walk) -> None:
        self._roots = [str(root) for root in walk.roots]
        obstacles = [obstacle.path for obstacle in walk.obstacles if obstacle.hides]
        # Thousands of conditions are beyond a statement; so many obstacles mean that a whole tree is unreadable.
        self._obstacles = obstacles if len(obstacles) <= 500 else self._roots

    def covers(self, path: Any) -> ColumnElement[bool]:
        return and_(below_any(path, self._roots), not_(below_any(path, self._obstacles)))


def _index(connection: Connection, table: Table) -> None:
    for position, columns in enumerate(_INDEXES[table.name]):
        connection.execute(text(f"CREATE INDEX ix_{table.name}_{position} ON {table.name} {columns}"))
    if connection.dialect.name == "postgresql":
        connection.execute(text(f"ANALYZE {table.name}"))


def _join_civitdl(connection: Connection) -> None:
    """Put documents of civitdl into the bundle of the weight file one folder up; without one they stand alone."""
    weight = FOUND.alias("weight")
    pairs = (
        select(FOUND.c.path, func.min(weight.c.path).label("weight"))
        .join(weight, and_(weight.c.civitdl_key == FOUND.c.civitdl_key, weight.c.kind == ElementKind.WEIGHT))
        .where(FOUND.c.kind == ElementKind.DOCUMENT)
        .group_by(FOUND.c.path)
        .order_by(FOUND.c.path)
        .limit(_BATCH)
    )
    last = ""
    while rows := connection.execute(pairs.where(FOUND.c.path > last)).all():
        last = rows[-1].path
        connection.execute(
            update(FOUND)
            .where(FOUND.c.path == bindparam("document"))
            .values(directory=bindparam("into"), stem=bindparam("as_stem"), civitdl_key=None),
            [{"document": row.path, **_bundle_of_weight(row.weight)} for row in rows],
        )


def _bundle_of_weight(path: str) -> dict[str, str]:
    folder, _, name = path.rpartition("/")
    element = classify(name)
    assert element is not None
    return {"into": folder, "as_stem": element.stem}


def _known() -> list[tuple[ElementKind, type[File] | type[Document]]]:
    return [(ElementKind.WEIGHT, File), (ElementKind.DOCUMENT, Document)]


def _fill_gone(connection: Connection, scope: _Scope) -> None:
    for kind, model in _known():
        rows = (
            select(literal(kind), model.pk, model.path, model.size, model.mtime_ns, model.inode, model.state)
            .outerjoin(FOUND, and_(FOUND.c.path == model.path, FOUND.c.kind == kind))
            .where(FOUND.c.path.is_(None), or_(model.state == "missing", scope.covers(model.path)))
        )
        connection.execute(insert(GONE).from_select([column.name for column in GONE.c], rows))


def _name(path: Any) -> ColumnElement[str]:
    """The last part of a path."""
    return func.replace(path, func.rtrim(path, func.replace(path, "/", "")), "")


def _find_moves(connection: Connection) -> None:
    """A row whose file is gone, and a file without a row that has its size and time and its inode or its name."""
    for kind, model in _known():
        same_inode = func.coalesce(GONE.c.inode == FOUND.c.inode, literal(0) == 1)
        candidates = (
            select(
                GONE.c.row_pk,
                GONE.c.path.label("old_path"),
                FOUND.c.path,
                FOUND.c.size,
                FOUND.c.mtime_ns,
            )
            .join(FOUND, and_(FOUND.c.size == GONE.c.size, FOUND.c.mtime_ns == GONE.c.mtime_ns))
            .outerjoin(model, model.path == FOUND.c.path)
            .where(
                GONE.c.kind == kind,
                FOUND.c.kind == kind,
                model.pk.is_(None),
                or_(same_inode, _name(GONE.c.path) == _name(FOUND.c.path)),
            )
            .order_by(FOUND.c.size, FOUND.c.mtime_ns, case((same_inode, 0), else_=1), GONE.c.path, FOUND.c.path)
        )
        for batch in _batches(_pairs(connection.execute(candidates))):
            connection.execute(
                insert(CHANGES),
                [
                    {
                        "kind": kind,
                        "change": Change.MOVED,
                        "path": row.path,
                        "row_pk": row.row_pk,
                        "old_path": row.old_path,
                    }
                    for row in batch
                ],
            )


def _pairs(candidates: Iterable[AnyRow]) -> Iterator[AnyRow]:
    """Each row and each file at most once. Only candidates of one size and time can collide."""
    for _, group in groupby(candidates, key=lambda row: (row.size, row.mtime_ns)):
        rows: set[int] = set()
        paths: set[str] = set()
        for row in group:
            if row.row_pk not in rows and row.path not in paths:
                rows.add(row.row_pk)
                paths.add(row.path)
                yield row


def _batches(rows: Iterable[AnyRow]) -> Iterator[list[AnyRow]]:
    iterator = iter(rows)
    while batch := list(islice(iterator, _BATCH)):
        yield batch


def _find_changes(connection: Connection) -> None:
    """New, changed and returned files, by bundle, so that the elements of one bundle are applied together."""
    moved = select(CHANGES.c.path)
    selects = []
    for kind, model in _known():
        differs = or_(model.size != FOUND.c.size, model.mtime_ns != FOUND.c.mtime_ns)
        rebundled: ColumnElement[bool] = literal(0) == 1
        if model is Document:
            # A document of civitdl whose weight is gone keeps its key, and stays with the bundle it once was in.
            elsewhere = or_(Bundle.directory != FOUND.c.directory, Bundle.stem != FOUND.c.stem)
            rebundled = and_(elsewhere, FOUND.c.civitdl_key.is_(None))
        rows = (
            select(
                literal(kind).label("kind"),
                case(
                    (model.pk.is_(None), Change.NEW),
                    (differs, Change.CHANGED),
                    (model.state == "missing", Change.BACK),
                    else_=Change.REBUNDLED,
                ).label("change"),
                FOUND.c.path,
                model.pk.label("row_pk"),
                FOUND.c.directory,
                FOUND.c.stem,
            )
            .outerjoin(model, model.path == FOUND.c.path)
            .where(FOUND.c.kind == kind, or_(model.pk.is_(None), differs, model.state == "missing", rebundled))
            .where(FOUND.c.path.not_in(moved))
        )
        selects.append(rows.outerjoin(Bundle, Bundle.pk == model.bundle_pk) if model is Document else rows)
    every = union_all(*selects).subquery()
    ordered = select(every.c.kind, every.c.change, every.c.path, every.c.row_pk).order_by(
        every.c.directory, every.c.stem, every.c.kind, every.c.path
    )
    connection.execute(insert(CHANGES).from_select(["kind", "change", "path", "row_pk"], ordered))


def _find_vanished(connection: Connection) -> None:
    moved = select(CHANGES.c.row_pk).where(CHANGES.c.change == Change.MOVED, CHANGES.c.kind == GONE.c.kind)
    rows = (
        select(GONE.c.kind, literal(Change.VANISHED), GONE.c.path, GONE.c.row_pk, GONE.c.path)
        .where(GONE.c.state != "missing", GONE.c.row_pk.not_in(moved))
        .order_by(GONE.c.path)
    )
    connection.execute(insert(CHANGES).from_select(["kind", "change", "path", "row_pk", "old_path"], rows))


def counts(connection: Connection) -> dict[tuple[str, str], int]:
    """How many differences there are, by kind of element and change."""
    statement = select(CHANGES.c.kind, CHANGES.c.change, func.count()).group_by(CHANGES.c.kind, CHANGES.c.change)
    return {(kind, change): count for kind, change, count in connection.execute(statement)}


def found_counts(connection: Connection) -> dict[str, int]:
    """How many files the walk found, by kind of element."""
    return dict(connection.execute(select(FOUND.c.kind, func.count()).group_by(FOUND.c.kind)).all())


def last_change(connection: Connection) -> int:
    """The number of the last difference; 0 without any."""
    last: int | None = connection.execute(select(func.max(CHANGES.c.seq))).scalar()
    return last or 0


def within(first: int, last: int) -> ColumnElement[bool]:
    """Differences with numbers from `first` to `last`."""
    return CHANGES.c.seq.between(first, last)


def changes_after(connection: Connection, seq: int, limit: int) -> Sequence[AnyRow]:
    """The next differences with what the walk saw of them (all NULL for vanished files)."""
    statement = (
        select(
            CHANGES.c.seq,
            CHANGES.c.kind,
            CHANGES.c.change,
            CHANGES.c.path,
            CHANGES.c.row_pk,
            CHANGES.c.old_path,
            FOUND.c.directory,
            FOUND.c.stem,
            FOUND.c.size,
            FOUND.c.mtime_ns,
            FOUND.c.inode,
        )
        .outerjoin(FOUND, and_(FOUND.c.path == CHANGES.c.path, FOUND.c.kind == CHANGES.c.kind))
        .where(CHANGES.c.seq > seq)
        .order_by(CHANGES.c.seq)
        .limit(limit)
    )
    return connection.execute(statement).all()


def preview_changes(walk: Walk) -> Select[int, str | None]:
    """Bundles below the roots whose best preview is another one than recorded: (bundle_pk, path or NULL)."""
    scope = _Scope(walk)
    order = func.row_number().over(
        partition_by=[FOUND.c.directory, FOUND.c.stem], order_by=[FOUND.c.rank, FOUND.c.path]
    )
    ranked = (
        select(FOUND.c.directory, FOUND.c.stem, FOUND.c.path, order.label("position"))
        .where(FOUND.c.kind == ElementKind.PREVIEW)
        .subquery()
    )
    best = select(ranked).where(ranked.c.position == 1).subquery()
    return (
        select(Bundle.pk, best.c.path)
        .outerjoin(best, and_(best.c.directory == Bundle.directory, best.c.stem == Bundle.stem))
        .where(scope.covers(Bundle.directory), Bundle.preview_path.is_distinct_from(best.c.path))
        .order_by(Bundle.pk)
    )
