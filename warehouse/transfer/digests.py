"""Whether two tables hold the same rows, in whatever order and on whichever dialect.

The digest of a table is the sum of the digests of its rows. What the dialects keep differently is made alike first:
PostgreSQL orders the members of JSON objects and writes 1e16 out as an integer, SQLite keeps the text it was given.
"""

from decimal import Decimal
from typing import Any

import msgspec
from blake3 import blake3
from sqlalchemy import Connection

from warehouse.transfer import PortableRow
from warehouse.transfer.reading import read_rows
from warehouse.transfer.shapes import Kind, TableShape

_MODULUS = 2**256


def _number(literal: str) -> float | int:
    value = float(literal)
    if value.is_integer():
        return int(value)
    # Beyond what a float holds: as the integer that PostgreSQL makes of it.
    return int(Decimal(literal)) if value in {float("inf"), float("-inf")} else value


_DECODER = msgspec.json.Decoder(float_hook=_number)
_JSON = msgspec.json.Encoder(order="sorted")
_ROW = msgspec.msgpack.Encoder()


class TableDigest:
    """The digest of the rows that were added."""

    def __init__(self, shape: TableShape) -> None:
        self.rows = 0
        self._sum = 0
        self._json = shape.places(Kind.JSON)
        self._floats = shape.places(Kind.FLOAT)

    def add(self, row: PortableRow) -> int:
        """Take a row in; returns how many bytes it has, about."""
        encoded = _ROW.encode(self._alike(row) if self._json or self._floats else row)
        self._sum += int.from_bytes(blake3(encoded).digest(), "big")
        self.rows += 1
        return len(encoded)

    def _alike(self, row: PortableRow) -> list[Any]:
        values = list(row)
        for place in self._json:
            if values[place] is not None:
                values[place] = _JSON.encode(_DECODER.decode(values[place]))
        for place in self._floats:
            if values[place] is not None:
                # SQLite has no negative zero.
                values[place] = float(values[place]) + 0.0
        return values

    @property
    def hexadecimal(self) -> str:
        """The digest, 64 digits; zeros for no rows."""
        return f"{self._sum % _MODULUS:064x}"


def digest_of(connection: Connection, shape: TableShape) -> TableDigest:
    """The digest of a whole table: reads all of it."""
    digest = TableDigest(shape)
    for row in read_rows(connection, shape):
        digest.add(row)
    return digest
