"""Processes that a test started, apart from those that fixtures of the session keep (servers, a database)."""

from collections.abc import Callable

import psutil


def new_children(command: str = "") -> Callable[[], list[psutil.Process]]:
    """A function that gives the living children of this process that were not there when this was called.

    Args:
        command: what their command line contains.
    """
    before = set(psutil.Process().children(recursive=True))

    def children() -> list[psutil.Process]:
        found = set(psutil.Process().children(recursive=True)) - before
        return sorted((child for child in found if command in _command(child)), key=lambda child: child.pid)

    return children


def _command(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""
