"""Whole databases as rows that belong to no dialect: what a copy to another database and a backup are made of.

Belongs here: which tables there are and what their columns hold (`shapes`), reading and writing all their rows
(`reading`, `writing`), the numbers that are given next (`sequences`), saying whether two databases hold the same
(`digests`), and copying one into another (`copying`). Does not: files (`warehouse.backup`).

A row is a tuple in the order of its table's columns. JSON is its text, as the database keeps it; a moment is the text
`YYYY-MM-DD hh:mm:ss.ffffff` in UTC, a day `YYYY-MM-DD`; all else is what Python has for it.
"""

from typing import Any

PortableRow = tuple[Any, ...]
"""A row as the charter says."""


class TransferError(RuntimeError):
    """A database could not be read or written as a whole. The message says what, where and what to do."""
