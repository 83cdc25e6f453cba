"""The API as a process: uvicorn with the bounds that the settings and `protocol` give it.

    python -m serving.server --host 127.0.0.1 --port 8000

Belongs here: how the server is configured, for `lora-manager serve` and for what `up` starts. Does not: the application
(`app`), and whether an address may be listened on (`cli`).
"""

import argparse
import logging
import resource
from contextlib import suppress

import uvicorn
from fastapi import FastAPI

from serving.protocol import GuardedProtocol
from warehouse.settings import Settings, get_settings

APPLICATION = "serving.app:app"
_KEEP_ALIVE_SECONDS = 5
_SHUTDOWN_SECONDS = 5
_NOT_STARTED = 3
_OWN_FILES = 128
"""Beside connections: three for each of the database, those of the indexes, and what a request opens."""
_WEBSOCKET_MESSAGE_BYTES = 2**20
"""Of a message of a client, which subscribes and nothing else."""
_log = logging.getLogger(__name__)


def configuration(
    settings: Settings, *, app: str | FastAPI = APPLICATION, host: str = "127.0.0.1", port: int = 0
) -> uvicorn.Config:
    """The server of an address. `X-Forwarded-For` is believed of configured proxies alone, whatever the environment."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        http=GuardedProtocol,
        # The application sets up the log, for itself and for the server.
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=settings.trusted_proxies,
        # `protocol` refuses connections beyond the limit; uvicorn itself would refuse the requests of all.
        limit_concurrency=settings.max_connections + 1,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=_SHUTDOWN_SECONDS,
        ws_max_size=_WEBSOCKET_MESSAGE_BYTES,
        # Progress is small and pictures do not shrink; five hundred compressors take memory and time.
        ws_per_message_deflate=False,
    )


def connections_possible(wanted: int) -> int:
    """How many connections may be open at once: as many as are wanted, where the system lets a process have so many
    files. The soft limit is raised for them; where the hard one is too low, what the server itself opens comes first.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    needed = wanted + _OWN_FILES
    if soft < needed and soft != resource.RLIM_INFINITY:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        if soft < needed:
            _log.warning(
                "%d connections at once are allowed instead of %d: this process may have %d files open (ulimit -n)",
                max(1, soft - _OWN_FILES),
                wanted,
                soft,
            )
            return max(1, soft - _OWN_FILES)
    return wanted


def run(settings: Settings, host: str, port: int) -> None:
    """Serve until a signal says to stop. Exits with code 3 if the server could not start."""
    settings = settings.model_copy(update={"max_connections": connections_possible(settings.max_connections)})
    server = uvicorn.Server(configuration(settings, host=host, port=port))
    with suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        raise SystemExit(_NOT_STARTED)


def main() -> None:
    """Serve the address that the command line names."""
    parser = argparse.ArgumentParser(prog="python -m serving.server", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    options = parser.parse_args()
    run(get_settings(), options.host, options.port)


if __name__ == "__main__":
    main()
