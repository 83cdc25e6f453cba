"""Parquet files of a mart: written in batches of bounded size, then read back whole before anyone relies on them."""

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.marts.declaration import ColumnType, Mart
from warehouse.marts.errors import MartError

if TYPE_CHECKING:
    import pyarrow as pa

ROW_GROUP_ROWS = 122_880
"""Most rows of a row group: what DuckDB scans in one piece."""
ROW_GROUP_BYTES = 8 * 2**20
"""A row group ends once its values take this much, so that wide rows take no more memory than narrow ones."""
_READ_ROWS = 8_192

READ_ONLY = 0o444


def _values(kind: ColumnType, values: Sequence[Any]) -> Sequence[Any]:
    """Lists as lists of text: a number among a user's tags is written as text instead of failing the export."""
    if kind is not ColumnType.TEXTS:
        return values
    return [
        [item if isinstance(item, str) else str(item) for item in value] if isinstance(value, list) else None
        for value in values
    ]


def to_batch(mart: Mart, schema: "pa.Schema", rows: Sequence[Sequence[Any]]) -> "pa.RecordBatch":
    """Rows of a select as one record batch of the mart's schema.

    Raises:
        MartError: a value does not fit its column.
    """
    import pyarrow as pa

    arrays = []
    for column, field, values in zip(mart.columns, schema, zip(*rows, strict=True), strict=True):
        try:
            arrays.append(pa.array(_values(column.type, values), field.type))
        except (pa.ArrowException, TypeError, OverflowError) as error:
            raise MartError(f"mart {mart.name}, column {column.name}: a value is no {column.type}: {error}") from error
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _grouped(batches: Iterable["pa.RecordBatch"]) -> Iterator[list["pa.RecordBatch"]]:
    group: list[pa.RecordBatch] = []
    rows = size = 0
    for batch in batches:
        group.append(batch)
        rows += batch.num_rows
        size += batch.nbytes
        if rows >= ROW_GROUP_ROWS or size >= ROW_GROUP_BYTES:
            yield group
            group, rows, size = [], 0, 0
    if group:
        yield group


def write(path: Path, schema: "pa.Schema", batches: Iterable["pa.RecordBatch"]) -> int:
    """Write one file, which must not exist; returns its rows. Without a batch the file has columns and no row."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    path.parent.mkdir(parents=True, exist_ok=True)
    rows = 0
    with pq.ParquetWriter(path, schema, compression="zstd", write_page_checksum=True) as writer:
        for group in _grouped(batches):
            table = pa.Table.from_batches(group, schema)
            writer.write_table(table, row_group_size=table.num_rows or None)
            rows += table.num_rows
    return rows


def verify(path: Path, schema: "pa.Schema", rows: int) -> None:
    """Read a file back, every page against its checksum, and compare it with what it should be; then protect it.

    Raises:
        MartError: the file is not what was written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            if not file.schema_arrow.equals(schema, check_metadata=True):
                raise MartError(f"{path} does not have the declared columns")
            read = sum(batch.num_rows for batch in file.iter_batches(batch_size=_READ_ROWS))
    except (pa.ArrowException, OSError) as error:
        raise MartError(f"{path} cannot be read back: {error}") from error
    if read != rows:
        raise MartError(f"{path} has {read} rows instead of {rows}")
    # Opened for writing by mistake, a published file must refuse.
    path.chmod(READ_ONLY)


def link(source: Path, target: Path) -> bool:
    """Give a published file a second name; False where the file system cannot."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        return False
    return True
