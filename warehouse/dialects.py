"""What SQLite and PostgreSQL have both, and SQLAlchemy only in the module of each.

Does not belong here: statements themselves, and what only one of the two has.
"""

from typing import Any

from sqlalchemy import Connection
from sqlalchemy.dialects import postgresql, sqlite


def insert_or(connection: Connection, table: Any) -> postgresql.Insert | sqlite.Insert:
    """An INSERT into a table or model that can say what happens instead on a conflict."""
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)
