"""Pages of jobs as every list of them is asked for and answered.

Does not belong here: reading jobs (`warehouse.queries.jobs`) and how one of them is shown (the routers).
"""

from typing import Annotated, Any

from fastapi import Query

from serving import problems
from warehouse.engine import Database
from warehouse.queries import cursors, jobs
from warehouse.queries.jobs import JobFilter, JobPage


class Paging:
    """Which page: the parameters of a list, for `Depends`."""

    def __init__(
        self,
        limit: Annotated[int, Query(ge=1, le=500, description="Jobs a page.")] = 100,
        offset: Annotated[int, Query(ge=0, description="Jobs to skip, up to 10,000; beyond that use `cursor`.")] = 0,
        page: Annotated[int | None, Query(ge=1, description="Page number from 1, instead of `offset`.")] = None,
        per_page: Annotated[int | None, Query(ge=1, le=500, description="The same as `limit`.")] = None,
        cursor: Annotated[
            str | None, Query(description="`next_cursor` of the page before, instead of `offset`.")
        ] = None,
    ) -> None:
        self.size = per_page or limit
        self.skip = (page - 1) * self.size if page is not None else offset
        self.skip_loc = ("query", "page" if page is not None else "offset")
        self.cursor = cursor or None


def read(database: Database, narrowed: JobFilter, paging: Paging) -> JobPage:
    """One page of jobs, newest first.

    Raises:
        Problem: 422, there is no such page.
    """
    try:
        with database.read() as connection:
            return jobs.page(connection, narrowed, limit=paging.size, offset=paging.skip, cursor=paging.cursor)
    except cursors.CursorError as error:
        raise problems.invalid(("query", "cursor"), str(error)) from error
    except jobs.OffsetError as error:
        raise problems.invalid(paging.skip_loc, str(error)) from error


def content(found: JobPage, paging: Paging, items: list[dict[str, Any]]) -> dict[str, Any]:
    """The answer of a page whose rows are shown as `items`."""
    return {
        "items": items,
        "total": found.total,
        "limit": paging.size,
        "offset": found.offset,
        "next_cursor": found.next_cursor,
        "filtered": found.total,
        "page": found.offset // paging.size + 1,
        "pages": -(-found.total // paging.size),
        "per_page": paging.size,
    }
