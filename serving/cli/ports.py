"""TCP ports: free, or taken by whom. Asked before anything starts, so that nothing has to be undone."""

import socket

from serving.cli.errors import CommandError


def is_free(host: str, port: int) -> bool:
    """Whether a server could listen here now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do: a connection of a server that ended a moment ago is no reason to wait.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def listener(port: int) -> str | None:
    """The process that listens on a port, as `name (process 12)`; None where the system does not tell."""
    import psutil

    try:
        for connection in psutil.net_connections("tcp"):
            listens_there = connection.status == psutil.CONN_LISTEN and getattr(connection.laddr, "port", None) == port
            if listens_there and connection.pid:
                return f"{psutil.Process(connection.pid).name()} (process {connection.pid})"
    except psutil.Error:
        return None
    return None


def require_free(host: str, port: int, option: str, title: str) -> None:
    """Make sure that a port can be had.

    Raises:
        CommandError: it cannot; names who has it and the option that chooses another.
    """
    if is_free(host, port):
        return
    holder = listener(port)
    raise CommandError(
        f"port {port} on {host}, meant for {title}, is taken{f' by {holder}' if holder else ''} or not allowed: stop "
        f"that process, or choose another port with {option}"
    )
