"""The numbers that were given last, so that none is given twice, also of rows that are gone."""

from collections.abc import Iterable, Mapping

from sqlalchemy import Connection, column, func, select, table, text

from warehouse.transfer.shapes import Kind, TableShape


def _numbered(shapes: Iterable[TableShape]) -> Iterable[tuple[str, str]]:
    """The tables whose key is one number, with its column; some of them take the number of another table."""
    for shape in shapes:
        if len(shape.key) == 1:
            kinds = {part.name: part.kind for part in shape.columns}
            if kinds[shape.key[0]] is Kind.INTEGER:
                yield shape.name, shape.key[0]


def _highest(connection: Connection, name: str, key: str) -> int:
    return connection.execute(select(func.max(column(key))).select_from(table(name))).scalar() or 0


def _sequence_of(connection: Connection, name: str, key: str) -> str | None:
    found: str | None = connection.execute(select(func.pg_get_serial_sequence(name, key))).scalar()
    return found


def read_sequences(connection: Connection, shapes: Iterable[TableShape]) -> dict[str, int]:
    """The number that was given last in each table that gives numbers; 0: none yet."""
    numbers = {name: _highest(connection, name, key) for name, key in _numbered(shapes)}
    if connection.dialect.name == "sqlite":
        for name, last in connection.execute(text("SELECT name, seq FROM sqlite_sequence")):
            if name in numbers:
                numbers[name] = max(numbers[name], last)
        return numbers
    for name, key in _numbered(shapes):
        sequence = _sequence_of(connection, name, key)
        if sequence is not None:
            last, is_called = connection.execute(text(f"SELECT last_value, is_called FROM {sequence}")).one()  # noqa: S608
            numbers[name] = max(numbers[name], last if is_called else 0)
    return numbers


def write_sequences(connection: Connection, shapes: Iterable[TableShape], numbers: Mapping[str, int]) -> None:
    """Let each table give the numbers behind those that were given."""
    for name, key in _numbered(shapes):
        last = max(numbers.get(name, 0), _highest(connection, name, key))
        if connection.dialect.name == "sqlite":
            _raise_sqlite(connection, name, last)
        elif (sequence := _sequence_of(connection, name, key)) is not None:
            connection.execute(select(func.setval(sequence, max(last, 1), last > 0)))


def _raise_sqlite(connection: Connection, name: str, last: int) -> None:
    # Without AUTOINCREMENT SQLite looks at the rows that are there, and so did the other database promise no more.
    statement = text("SELECT 1 FROM sqlite_master WHERE name = :name AND sql LIKE '%AUTOINCREMENT%'")
    if connection.execute(statement, {"name": name}).first() is not None:
        connection.execute(text("DELETE FROM sqlite_sequence WHERE name = :name"), {"name": name})
        connection.execute(
            text("INSERT INTO sqlite_sequence (name, seq) VALUES (:name, :last)"), {"name": name, "last": last}
        )
