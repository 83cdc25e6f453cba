"""Which process does some work, and whether it still lives: neither a database nor Dagster looks.

A pid alone is reused by the system, so an identity is host, pid and when the process started: by what the system has
counted since it was booted. By the clock every process would seem another one as soon as the clock is set.
"""

import os
import secrets
import socket
from functools import cache
from pathlib import Path

import psutil

_PROC = Path("/proc")
_STATE, _START_TICKS = 0, 19
"""Fields of `/proc/PID/stat` after the name of the program."""
_ENDED = (b"Z", b"X")


@cache
def _boot() -> str:
    """What tells this start of the system from others, where it says so."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()[:8]
    except OSError:
        return ""


def started(pid: int) -> str | None:
    """When a process started, in words that stay the same while it lives and are never those of another of its number;
    None if there is none."""
    if not (_PROC / "self/stat").exists():
        # Where there is no such folder (macOS), the system notes the time of the clock once.
        try:
            return f"{psutil.Process(pid).create_time():.2f}"
        except psutil.Error:
            return None
    try:
        # The name of the program may contain anything, brackets too.
        fields = (_PROC / str(pid) / "stat").read_bytes().rpartition(b")")[2].split()
    except OSError:
        return None
    if fields[_STATE] in _ENDED:
        return None
    return f"{fields[_START_TICKS].decode()}@{_boot()}"


def identity() -> str:
    """This process, as `host|pid|start`."""
    pid = os.getpid()
    return f"{socket.gethostname()}|{pid}|{started(pid)}"


def is_gone(named: str) -> bool:
    """Whether a process of this host no longer runs; False for one of another host, of which nothing is known."""
    parts = named.split("|")
    if len(parts) != 3 or not parts[1].isdecimal():
        return False
    host, pid, start = parts
    return host == socket.gethostname() and started(int(pid)) != start


def is_of_this_host(holder: str) -> bool:
    """Whether a holder, or a process, is one of this host."""
    return holder.partition("|")[0] == socket.gethostname()


def new_holder() -> str:
    """A name for what this process holds; its token tells two holders in one process apart."""
    return f"{identity()}|{secrets.token_hex(8)}"


def is_holder_gone(holder: str) -> bool:
    """Whether the process of a holder is gone, as `is_gone` says."""
    return is_gone(holder.rpartition("|")[0])
