"""The configuration of the Dagster instance, written into its home from our settings, so that nobody has to.

Belongs here: what `dagster.yaml` says and why. Does not: starting the webserver or the daemon. A file without the
mark in its first line is the operator's own and is left alone. `python -m pipelines.instance` makes the home ready
for whoever starts Dagster's processes.
"""

import fcntl
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
from sqlalchemy import text
from sqlalchemy.engine import make_url

from pipelines.queues import run_launcher
from warehouse.backends import plugins
from warehouse.contracts import Tag
from warehouse.engine import connect
from warehouse.migrations import take_turn
from warehouse.settings import Settings, get_settings

if TYPE_CHECKING:
    from dagster import DagsterInstance

_MARK = "# Written by LoRA Manager from its settings. Remove this line to keep changes of your own."

_SCHEMA = "dagster"
"""Dagster and our migrations both keep a table `alembic_version`, so Dagster's tables get a schema of their own."""

_LIBPQ_FILE = "pgpass"

BATCH_RUNS = 4
"""Every run is a process; the pools let one of them write tables and one compute vectors, whatever is asked for."""

_NO_CAPTURE = {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}


def _storage(settings: Settings) -> Mapping[str, Any]:
    url = make_url(settings.url)
    if url.get_backend_name() == "sqlite":
        return {"sqlite": {"base_dir": str(settings.dagster_home / "storage")}}
    # Dagster's storage needs psycopg 2: the server-side binding of psycopg 3 breaks its NOTIFY.
    return {
        "postgres": {
            "postgres_db": {
                "scheme": "postgresql+psycopg2",
                "username": url.username or "",
                # Dagster shows its configuration to everybody who opens its pages: the password is in a file of libpq.
                "password": "",
                "hostname": url.host or "localhost",
                "port": url.port or 5432,
                "db_name": url.database or "",
                "params": {
                    **url.query,
                    "options": f"-csearch_path={_SCHEMA}",
                    **({"passfile": str(settings.dagster_home / _LIBPQ_FILE)} if url.password else {}),
                },
            }
        }
    }


def configuration(settings: Settings) -> Mapping[str, Any]:
    """The content of `dagster.yaml`."""
    # A slot for each lane beyond those of batch runs: neither kind has to wait for the other.
    max_runs = BATCH_RUNS + len(plugins())
    return {
        "storage": _storage(settings),
        **run_launcher(settings),
        # One second between looks at the queue costs 0.1 CPU-s a minute; Dagster's default of five is felt.
        "run_coordinator": {
            "module": "dagster.core.run_coordinator",
            "class": "QueuedRunCoordinator",
            "config": {"dequeue_interval_seconds": 1, "dequeue_use_threads": True, "dequeue_num_workers": BATCH_RUNS},
        },
        "concurrency": {
            # By run: a blocked run stays in the queue instead of holding a process that polls.
            "pools": {"default_limit": 1, "granularity": "run"},
            "runs": {
                "max_concurrent_runs": max_runs,
                # Two, so that a run that is relieved works on until its heir is there.
                "tag_concurrency_limits": [{"key": Tag.LANE, "value": {"applyLimitPerUniqueValue": True}, "limit": 2}],
            },
        },
        "run_monitoring": {"enabled": True, "start_timeout_seconds": 180, "free_slots_after_run_end_seconds": 60},
        # Steps retry by their own policy; a run is started again only when its process died.
        "run_retries": {"enabled": True, "max_retries": 1, "retry_on_asset_or_op_failure": False},
        "sensors": {"use_threads": True, "num_workers": 4},
        "schedules": {"use_threads": True, "num_workers": 2},
        "freshness": {"enabled": True},
        "retention": {
            "sensor": {"purge_after_days": {"skipped": 1, "failure": 30, "success": 30, "started": 1}},
            "schedule": {"purge_after_days": 90},
        },
        "telemetry": {"enabled": False},
        "nux": {"enabled": False},
    }


def render(settings: Settings) -> str:
    """The text of `dagster.yaml`."""
    # JSON is YAML, and needs no library of its own.
    return f"{_MARK}\n{msgspec.json.format(msgspec.json.encode(configuration(settings)), indent=2).decode()}\n"


def _write_private(path: Path, text: str) -> None:
    aside = path.with_suffix(f".{os.getpid()}")
    aside.touch(mode=0o600)
    aside.write_text(text, encoding="utf-8")
    aside.replace(path)


def _write_password(settings: Settings) -> None:
    """Keep the password of the database where libpq looks for it, and nowhere when there is none."""
    path = settings.dagster_home / _LIBPQ_FILE
    password = make_url(settings.url).password
    if password is None:
        path.unlink(missing_ok=True)
        return
    escaped = str(password).replace("\\", "\\\\").replace(":", "\\:")
    _write_private(path, f"*:*:*:*:{escaped}\n")


def _create_schema(settings: Settings) -> None:
    database = connect(settings.url)
    try:
        with database.write() as connection:
            connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {_SCHEMA}"))
    finally:
        database.dispose()


def prepare_home(settings: Settings) -> Path:
    """Make DAGSTER_HOME ready: the folder, the configuration (written where absent or outdated), the schema.

    Returns the folder. Only its owner may read what is written, and the password of the database stands in a file of
    its own.
    """
    home = settings.dagster_home
    home.mkdir(parents=True, exist_ok=True)
    _write_password(settings)
    path = home / "dagster.yaml"
    wanted = render(settings)
    found = path.read_text(encoding="utf-8") if path.exists() else None
    if found is None or (found.startswith(_MARK) and found != wanted):
        _write_private(path, wanted)
    if not settings.url.startswith("sqlite"):
        _create_schema(settings)
    return home


@contextmanager
def _alone(settings: Settings) -> Iterator[None]:
    """Wait until no other process makes the home or the tables in it: of two at once one would fail."""
    settings.dagster_home.mkdir(parents=True, exist_ok=True)
    with (settings.dagster_home / ".making").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if settings.url.startswith("sqlite"):
            yield
            return
        # Processes of other hosts have homes of their own, and the same tables.
        database = connect(settings.url)
        try:
            with database.write() as connection:
                take_turn(connection)
                yield
        finally:
            database.dispose()


def open_instance(settings: Settings) -> "DagsterInstance":
    """The persistent instance, for a run in this process: what it prints goes to the terminal, not into log files."""
    from dagster import DagsterInstance
    from dagster._core.instance.ref import InstanceRef

    with _alone(settings):
        home = prepare_home(settings)
        return DagsterInstance.from_ref(InstanceRef.from_dir(str(home), overrides={"compute_logs": _NO_CAPTURE}))


def main() -> None:
    """Make the home ready for Dagster's own processes, its tables included.

    Two of those that start at once on an empty home both create the tables, and one of them dies of it.
    """
    with open_instance(get_settings()):
        pass


if __name__ == "__main__":
    main()
