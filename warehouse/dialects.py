"""What SQLite and PostgreSQL have both, and SQLAlchemy only in the module of each.

Does not belong here: statements themselves, and what only one of the two has.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects import postgresql, sqlite


def insert_or(connection: Connection, table: Any) -> postgresql.Insert | sqlite.Insert:
    """An INSERT into a table or model that can say what happens instead on a conflict."""
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)


def shared_now(connection: Connection) -> datetime:
    """Now, by the clock of those who share a database: PostgreSQL's own, for clocks of hosts differ; on SQLite that of
    the one host there is.

    What processes agree about (leases, what is due) is told by it; when something happened, by the clock of whom it
    happened to (`models.utc_now`).
    """
    if connection.dialect.name == "sqlite":
        return datetime.now(UTC)
    now: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
    return now.astimezone(UTC)
