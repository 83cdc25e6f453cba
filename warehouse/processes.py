"""Which process does some work, and whether it still lives: neither a database nor Dagster looks.

A pid alone is reused by the system, so an identity is host, pid and the start time of the process.
"""

import os
import secrets
import socket

import psutil


def _start_time(pid: int) -> str | None:
    try:
        return f"{psutil.Process(pid).create_time():.2f}"
    except psutil.Error:
        return None


def identity() -> str:
    """This process, as `host|pid|start time`."""
    pid = os.getpid()
    return f"{socket.gethostname()}|{pid}|{_start_time(pid)}"


def is_gone(named: str) -> bool:
    """Whether a process of this host no longer runs; False for one of another host, of which nothing is known."""
    parts = named.split("|")
    if len(parts) != 3 or not parts[1].isdecimal():
        return False
    host, pid, started = parts
    return host == socket.gethostname() and _start_time(int(pid)) != started


def new_holder() -> str:
    """A name for what this process holds; its token tells two holders in one process apart."""
    return f"{identity()}|{secrets.token_hex(8)}"


def is_holder_gone(holder: str) -> bool:
    """Whether the process of a holder is gone, as `is_gone` says."""
    return is_gone(holder.rpartition("|")[0])
