"""Pages of the adapter list: any filter, any order, by number or by cursor.

How a page stays cheap at a million adapters:
- A page is two statements: the keys of its rows in order (narrow, from an index), then the rows by key.
- A list is walked along the index of its order, or driven from its candidates (a tag, a full-text match) and sorted.
  Walking costs about `limit × library / matches` rows, driving costs `matches` rows, so the number of matches decides,
  and that number is known exactly (`counts`).
- Matches that are many, and lie evenly along the order, fill a page after a few steps of a walk. So a list that would
  be driven from many candidates is walked first, for `TRIED_ROWS` rows at most; only where they do not fill the page (a
  tag that only the newest have, in the order of age) is it driven.
- Unknown values (NULL) come last in both directions, on both dialects: the known part of a list and its unknown tail
  are separate walks of the same index, since neither dialect reads its index in such an order by itself.
"""

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Select, UnaryExpression, bindparam, func, select, tuple_
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.operators import custom_op

from warehouse import facets
from warehouse.models import Adapter
from warehouse.queries import cursors, matching
from warehouse.queries.adapters import AdapterRow, rows_by_pk
from warehouse.queries.counts import count
from warehouse.queries.filters import AdapterFilter, candidates, has_tag, is_sqlite, narrow, of_adapter

MAX_OFFSET = 10_000
"""Rows that a page may skip by number: skipping reads them, a cursor does not."""
CANDIDATE_LIMIT = 20_000
"""Up to this many matches are sorted; more are walked along the order's index. Also how many matches of a full-text
question are ranked by relevance: 260,000 took 1.8 s."""
TRIED_ROWS = 2_000
"""Rows of an order that are walked before a list is driven from more candidates than these."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class SortKey(StrEnum):
    """What a list can be ordered by."""

    NAME = "name"
    CREATED_AT = "created_at"
    UPDATED_AT = "updated_at"
    DOWNLOADS = "downloads"
    RATING = "rating"
    SIZE = "size"
    RELEVANCE = "relevance"
    """Of a full-text question; best first."""


_COLUMNS: dict[SortKey, InstrumentedAttribute[Any]] = {
    SortKey.NAME: Adapter.name,
    SortKey.CREATED_AT: Adapter.created_at,
    SortKey.UPDATED_AT: Adapter.updated_at,
    SortKey.DOWNLOADS: Adapter.downloads,
    SortKey.RATING: Adapter.rating,
    SortKey.SIZE: Adapter.primary_file_size_kb,
}
_FIRST_MOMENT, _LAST_MOMENT = -62_135_596_800_000_000, 253_402_300_799_999_999
"""What a moment can be, in microseconds since 1970."""
_MOMENTS = {SortKey.CREATED_AT, SortKey.UPDATED_AT}
_NULLABLE = {SortKey.DOWNLOADS, SortKey.RATING, SortKey.SIZE}


@dataclass(frozen=True, slots=True)
class Sort:
    """An order; the adapter's number breaks ties, so that it is total."""

    key: SortKey
    descending: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list."""

    rows: list[AdapterRow]
    total: int
    offset: int
    """How many rows of the list come before this page."""
    next_cursor: str | None
    ranked_among: int | None
    """Set where only so many of the matches were ranked by relevance."""


class OffsetError(ValueError):
    """A page was asked for by a number that is too deep."""


@dataclass(frozen=True, slots=True)
class _Listing:
    """A list whose total is known, and how it is best read."""

    narrowed: AdapterFilter
    sort: Sort
    total: int
    walked: bool = False
    """Walked even where driving would cost less at worst."""

    @property
    def drive_from_candidates(self) -> bool:
        only_base_model = self.narrowed.conditions() == 1 and self.narrowed.base_model is not None
        if self.narrowed.conditions() == 0 or (only_base_model and self.sort.key is SortKey.NAME):
            return False
        return self.total <= CANDIDATE_LIMIT and not self.walked

    def is_worth_a_walk(self, library: int, rows: int) -> bool:
        """Whether so many rows of matches that lie evenly in a library would be met well within TRIED_ROWS."""
        # A question is answered by the full-text index, whose matches are all gathered either way.
        if self.narrowed.question is not None or not TRIED_ROWS < self.total <= CANDIDATE_LIMIT:
            return False
        return self.drive_from_candidates and 4 * rows * library < TRIED_ROWS * self.total

    @property
    def digest(self) -> str:
        question = self.narrowed.question.phrases if self.narrowed.question is not None else None
        parts = (self.narrowed.active, self.narrowed.all_tags, self.narrowed.any_tags, self.narrowed.base_model)
        return cursors.listing_digest(*parts, question, self.sort.key, self.sort.descending)


def _keys(connection: Connection, listing: _Listing) -> Select[int, Any]:
    """The unordered select of (pk, sort value) of a list."""
    column = _COLUMNS[listing.sort.key]
    if listing.drive_from_candidates:
        # Materialised, so that SQLite does not turn the join round and walk the library.
        found = candidates(connection, listing.narrowed).cte("candidates").prefix_with("MATERIALIZED")
        return select(Adapter.pk, column.label("value")).join_from(found, Adapter, Adapter.pk == found.c.pk)
    statement = select(Adapter.pk, column.label("value"))
    narrowed = listing.narrowed
    statement = statement.where(*_while_walking(connection, listing))
    for tag in narrowed.all_tags:
        statement = statement.where(has_tag(Adapter.pk.expression, [tag]))
    if narrowed.any_tags:
        statement = statement.where(has_tag(Adapter.pk.expression, narrowed.any_tags))
    if narrowed.question is not None:
        matched = matching.matches(narrowed.question, sqlite=is_sqlite(connection)).subquery("matched")
        pk = _unindexed(Adapter.pk) if is_sqlite(connection) else Adapter.pk.expression
        statement = statement.where(pk.in_(select(matched.c.adapter_pk)))
    return statement


def _walk(
    connection: Connection,
    listing: _Listing,
    *,
    unknown: bool,
    after: cursors.Position | None,
    offset: int,
    limit: int,
    until: Row[int, Any] | None = None,
) -> list[Row[int, Any]]:
    """One stretch of a list: its rows with a known value, those before `until` alone, or its tail of unknown ones."""
    statement, pk, column = _keys(connection, listing), Adapter.pk, _COLUMNS[listing.sort.key]
    descending = listing.sort.descending
    if listing.sort.key in _NULLABLE:
        statement = statement.where(column.is_(None) if unknown else column.is_not(None))
    if unknown:
        if after is not None:
            statement = statement.where(pk < after.pk if descending else pk > after.pk)
    elif after is not None:
        statement = statement.where(_beyond(column, pk, _bound(listing.sort.key, after), after.pk, descending))
    if until is not None:
        statement = statement.where(_beyond(column, pk, until.value, until.pk, not descending))
    # In the tail the column is NULL throughout; naming it lets the index of (column, pk) give the order of pk.
    order = (column.desc(), pk.desc()) if descending else (column.asc(), pk.asc())
    return list(connection.execute(statement.order_by(*order).limit(limit).offset(offset)).all())


def _beyond(column: Any, pk: Any, value: Any, last: int, descending: bool) -> ColumnElement[bool]:
    here = tuple_(bindparam(None, value, type_=column.type), bindparam(None, last, type_=pk.type))
    pair = tuple_(column, pk)
    return pair < here if descending else pair > here


def _position(listing: _Listing, cursor: str) -> cursors.Position:
    """Where a page ended.

    Raises:
        CursorError: it is no cursor of this list.
    """
    position = cursors.decode(cursor, listing.digest)
    if not _fits(listing.sort.key, position.value):
        raise cursors.CursorError
    return position


def _fits(key: SortKey, value: str | int | float | None) -> bool:
    """Whether rows can be sorted by a value: one of another type is an error to PostgreSQL, and nonsense to SQLite."""
    if value is None:
        return key in _NULLABLE or key is SortKey.RELEVANCE
    if key is SortKey.NAME:
        return isinstance(value, str) and "\x00" not in value
    if key in _MOMENTS:
        return isinstance(value, int) and _FIRST_MOMENT <= value <= _LAST_MOMENT
    if key is SortKey.DOWNLOADS:
        return isinstance(value, int)
    return key is not SortKey.RELEVANCE and not isinstance(value, str) and math.isfinite(value)


def _bound(key: SortKey, position: cursors.Position) -> Any:
    if key in _MOMENTS and isinstance(position.value, int):
        return _EPOCH + timedelta(microseconds=position.value)
    return position.value


def _portable(value: Any) -> str | int | float | None:
    if isinstance(value, datetime):
        return (value - _EPOCH) // timedelta(microseconds=1)
    return value  # type: ignore[no-any-return]


def _ordered_keys(
    connection: Connection, listing: _Listing, after: cursors.Position | None, offset: int, limit: int
) -> list[Row[int, Any]]:
    """(pk, value) of a page: known values first, then the unknown ones."""
    in_tail = after is not None and after.value is None
    rows: list[Row[int, Any]] = []
    if not in_tail and listing.drive_from_candidates:
        rows = _tried_keys(connection, listing, after, offset, limit)
        if len(rows) == limit:
            return rows
    if not in_tail:
        rows = _walk(connection, listing, unknown=False, after=after, offset=offset, limit=limit)
    if listing.sort.key not in _NULLABLE or len(rows) == limit:
        return rows
    if in_tail:
        return _walk(connection, listing, unknown=True, after=after, offset=0, limit=limit)
    skip = 0
    if not rows and offset:
        # No known value is left at this depth, so at most `offset` of them exist: counting them is bounded.
        column = _COLUMNS[listing.sort.key]
        known = _keys(connection, listing).where(column.is_not(None)).limit(offset).subquery()
        skip = offset - connection.execute(select(func.count()).select_from(known)).scalar_one()
    return rows + _walk(connection, listing, unknown=True, after=None, offset=skip, limit=limit - len(rows))


def _tried_keys(
    connection: Connection, listing: _Listing, after: cursors.Position | None, offset: int, limit: int
) -> list[Row[int, Any]]:
    """(pk, value) of as much of a page as the next TRIED_ROWS of the order hold; nothing where that promises little."""
    if not listing.is_worth_a_walk(facets.count_of(connection), offset + limit):
        return []
    whole = _Listing(AdapterFilter(), listing.sort, total=0)
    end = _walk(connection, whole, unknown=False, after=after, offset=TRIED_ROWS, limit=1)
    walked = replace(listing, walked=True)
    until = end[0] if end else None
    return _walk(connection, walked, unknown=False, after=after, offset=offset, limit=limit, until=until)


def _ranked_keys(connection: Connection, listing: _Listing, offset: int, limit: int) -> list[Row[int, Any]]:
    """(pk, score) by relevance, best first, among at most CANDIDATE_LIMIT matches."""
    narrowed = listing.narrowed
    assert narrowed.question is not None
    matched = (
        matching.matches(narrowed.question, sqlite=is_sqlite(connection)).limit(CANDIDATE_LIMIT).subquery("matched")
    )
    statement = select(matched.c.adapter_pk.label("pk"), matched.c.score.label("value"))
    statement = narrow(statement, matched.c.adapter_pk, narrowed)
    statement = statement.order_by(matched.c.score.desc(), matched.c.adapter_pk).limit(limit).offset(offset)
    return list(connection.execute(statement).all())


def _while_walking(connection: Connection, listing: "_Listing") -> list[ColumnElement[bool]]:
    """The conditions on columns as SQLite must see them lest it leave the index of the order for theirs, and sort."""
    in_index_order = listing.narrowed.base_model is not None and listing.sort.key is SortKey.NAME
    if not is_sqlite(connection) or in_index_order:
        return of_adapter(listing.narrowed)
    conditions: list[ColumnElement[bool]] = []
    if listing.narrowed.active is not None:
        conditions.append(_unindexed(Adapter.active) == listing.narrowed.active)
    if listing.narrowed.base_model is not None:
        conditions.append(_unindexed(Adapter.base_model) == listing.narrowed.base_model)
    return conditions


def _unindexed(column: InstrumentedAttribute[Any]) -> ColumnElement[Any]:
    """SQLite's unary plus: the same value, out of any index's reach."""
    return UnaryExpression(column.expression, operator=custom_op("+"), type_=column.type)


def page(
    connection: Connection,
    narrowed: AdapterFilter,
    sort: Sort,
    *,
    limit: int,
    offset: int = 0,
    cursor: str | None = None,
) -> Page:
    """One page of a list, from a number of rows to skip or from where a cursor stands (which then wins).

    Raises:
        CursorError: the cursor is not one of this list.
        OffsetError: so many rows cannot be skipped by number; the message says what to do instead.
    """
    total = count(connection, narrowed)
    listing = _Listing(narrowed, sort, total)
    after = _position(listing, cursor) if cursor is not None else None
    start = after.rank if after is not None else offset
    if after is None and start >= total:
        return Page([], total, start, None, None)
    if after is None and start > MAX_OFFSET:
        raise OffsetError(f"offset is at most {MAX_OFFSET}: follow next_cursor to reach the rows beyond")
    # One key more than the page has rows tells whether another page follows, whatever changed meanwhile.
    if sort.key is SortKey.RELEVANCE:
        keys = _ranked_keys(connection, listing, start, limit + 1)
    else:
        keys = _ordered_keys(connection, listing, after, 0 if after is not None else start, limit + 1)
    shown = keys[:limit]
    return Page(
        rows=rows_by_pk(connection, [key.pk for key in shown]),
        total=total,
        offset=start,
        next_cursor=_cursor(listing, start + limit, shown[-1]) if len(keys) > limit else None,
        ranked_among=CANDIDATE_LIMIT if sort.key is SortKey.RELEVANCE and total > CANDIDATE_LIMIT else None,
    )


def _cursor(listing: _Listing, rank: int, last: Row[int, Any]) -> str:
    value = None if listing.sort.key is SortKey.RELEVANCE else _portable(last.value)
    return cursors.encode(cursors.Position(listing.digest, rank, last.pk, value))
