"""`lora-manager up`: from a folder to answers. Tables, library, pipeline, then everything that runs, until Ctrl-C."""

import signal
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from serving.cli.context import DataOption, refuse_open_host, settings_of
from serving.cli.errors import CommandError, Exit
from serving.cli.folders import existing_roots
from serving.cli.output import note

if TYPE_CHECKING:
    from serving.cli.running import RunFolder
    from serving.cli.services import Endpoints
    from serving.cli.supervisor import Supervisor
    from warehouse.engine import Database
    from warehouse.settings import Settings
    from warehouse.storage import LibraryRoot

SAMPLE_ADAPTERS = 240
LOOK_AT_FILES_UP_TO = 100_000
"""Adapters; a start that looked at every file of a larger library would not take seconds. The watch finds the rest."""

READY_WITHIN = 180.0
"""Seconds after which a system that is not ready is broken; it takes 10 on two cores."""

_TICK_SECONDS = 0.2


class _StopRequest:
    """Ctrl-C, SIGTERM and a closed terminal, remembered until the loop looks: a child is never lost half-started."""

    def __init__(self) -> None:
        from serving.cli.processes import stop_signals

        self.received = False
        for number in stop_signals():
            signal.signal(number, self._receive)

    def _receive(self, _number: int, _frame: FrameType | None) -> None:
        if self.received:
            # Asked twice: the patience of an orderly stop is over. `Supervisor.stop` takes it from here.
            raise KeyboardInterrupt
        self.received = True


@dataclass(frozen=True, slots=True)
class _Library:
    """The folders to ingest. `named`: given to the run as arguments; else it takes those known, even if one is gone."""

    folders: list["LibraryRoot"]
    named: bool


def _library(database: "Database", settings: "Settings", given: list["LibraryRoot"], *, sample: bool) -> _Library:
    """What to ingest; a sample library is made where there is nothing at all to ingest."""
    from warehouse.queries.overview import adapter_count, registered_roots

    if given:
        return _Library(given, named=True)
    known = [*settings.library_roots, *registered_roots(database)]
    if known or not sample or adapter_count(database):
        return _Library(list(dict.fromkeys(known)), named=False)
    from serving.cli.sample import make_sample

    folder = settings.data_dir / "sample-library"
    note("No library named: making a sample library to look at. Your own: lora-manager up --library PATH")
    make_sample(folder, adapters=SAMPLE_ADAPTERS, seed=0)
    return _Library([folder], named=True)


def _nothing_to_read(database: "Database", settings: "Settings", library: _Library) -> bool:
    """Whether no file differs from what was read; of a very large library only the folders are looked at."""
    from warehouse.ingest import plan_sync
    from warehouse.queries.overview import adapter_count

    if adapter_count(database) > LOOK_AT_FILES_UP_TO:
        return True
    plan = plan_sync(database, settings, library.folders if library.named else None)
    return not plan.changes and not plan.obstacles


def _run_pipeline(database: "Database", settings: "Settings", library: _Library, run_folder: "RunFolder") -> None:
    """Ingest, embed, index and publish, unless that was done already for what is there now."""
    from serving.cli.pipeline import run_job
    from serving.version import VERSION
    from warehouse.ingest import library_signature
    from warehouse.migrations import head

    stamp = {"signature": library_signature(settings, library.folders), "version": VERSION, "schema": head()}
    if run_folder.stamp() == stamp and _nothing_to_read(database, settings, library):
        note("Library unchanged since the last start.")
        return
    named = library.folders if library.named else []
    code = run_job("sync_library", [argument for folder in named for argument in ("--path", str(folder))])
    if code == 0:
        run_folder.write_stamp(stamp)
    elif code == Exit.INTERRUPTED:
        raise typer.Exit(code)
    elif code == Exit.TRY_AGAIN:
        note("Another run of the pipeline is at work; its results appear when it is done.")
    else:
        note(f"The pipeline ended with code {code}: what it finished is served, the next start runs it again.")


def _wait_until_ready(supervisor: "Supervisor", stop: _StopRequest) -> bool:
    """Whether everything came up before anybody asked to stop."""
    deadline = time.monotonic() + READY_WITHIN
    said: list[str] = []
    while supervisor.waiting_for and not stop.received:
        if time.monotonic() > deadline:
            raise CommandError(
                f"not ready after {READY_WITHIN:.0f} s: {', '.join(supervisor.waiting_for)}. See the logs folder"
            )
        if supervisor.waiting_for != said:
            said = supervisor.waiting_for
            note(f"Starting: {', '.join(said)} …")
        supervisor.tick()
        time.sleep(_TICK_SECONDS)
    return not stop.received


def _banner(settings: "Settings", endpoints: "Endpoints") -> None:
    print(
        "\n".join(
            (
                "",
                "Ready.",
                f"  Search and try    {endpoints.api_url}/",
                f"  API               {endpoints.api_url}/docs",
                f"  Dagster UI        {endpoints.dagster_url}/",
                f"  Data and logs     {settings.data_dir}",
                "",
            )
        ),
        flush=True,
    )


def _supervise(settings: "Settings", endpoints: "Endpoints", run_folder: "RunFolder") -> None:
    from serving.cli.first_answer import show_first_answer
    from serving.cli.services import services
    from serving.cli.supervisor import Supervisor

    stop = _StopRequest()
    supervisor = Supervisor(
        services(endpoints),
        logs=settings.data_dir / "logs",
        environment={
            "DAGSTER_HOME": str(settings.dagster_home),
            "DAGSTER_DISABLE_TELEMETRY": "1",
            "LORA_MANAGER_DATA_DIR": str(settings.data_dir),
            "LORA_MANAGER_DAGSTER_URL": endpoints.dagster_url,
        },
        say=note,
        changed=lambda children: run_folder.write(endpoints.api_url, children),
    )
    try:
        if _wait_until_ready(supervisor, stop):
            _banner(settings, endpoints)
            show_first_answer(endpoints.api_url, with_keys=bool(settings.api_keys))
            print("\nCtrl-C stops everything.", flush=True)
        while not stop.received:
            supervisor.tick()
            time.sleep(_TICK_SECONDS)
        note("Stopping …")
    finally:
        supervisor.stop()
    note("Stopped.")


def up(
    *,
    library: Annotated[
        list[str] | None,
        typer.Option("--library", metavar="PATH", help="Folder of LoRA files, or s3://bucket/prefix; may be repeated."),
    ] = None,
    data: DataOption = None,
    host: Annotated[str, typer.Option(help="Address the API listens on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the API.")] = 8000,
    dagster_port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the Dagster UI.")] = 3000,
    sample: Annotated[bool, typer.Option(help="Make a sample library when there is nothing to ingest.")] = True,
) -> None:
    """Start everything. Ingest the library, then serve the API and the Dagster UI until Ctrl-C."""
    from serving.cli.ports import require_free
    from serving.cli.processes import stop_signals
    from serving.cli.running import RunFolder
    from serving.cli.services import Endpoints

    # Until services run, a SIGTERM or a closed terminal is what Ctrl-C is.
    for number in stop_signals():
        signal.signal(number, signal.default_int_handler)
    settings = settings_of(data, api_host=host)
    refuse_open_host(settings, host)
    folders = existing_roots(library or [])
    if port == dagster_port:
        raise CommandError(f"--port and --dagster-port are both {port}: choose two", Exit.USAGE)
    run_folder = RunFolder(settings.data_dir)
    with run_folder.hold(), tempfile.TemporaryDirectory(prefix="lora-manager-") as private:
        require_free(host, port, "--port", "the API")
        require_free("127.0.0.1", dagster_port, "--dagster-port", "the Dagster UI")
        _prepare(settings, folders, run_folder, sample=sample)
        _supervise(settings, Endpoints(host, port, dagster_port, Path(private)), run_folder)


def _prepare(settings: "Settings", folders: list["LibraryRoot"], run_folder: "RunFolder", *, sample: bool) -> None:
    from serving.cli.pipeline import prepare_dagster_home
    from warehouse.engine import open_database
    from warehouse.migrations import upgrade

    database = open_database(settings)
    try:
        upgrade(database)
        library = _library(database, settings, folders, sample=sample)
        prepare_dagster_home()
        if library.folders:
            _run_pipeline(database, settings, library, run_folder)
        else:
            note("Nothing to ingest yet. Add a library: lora-manager sync PATH")
    finally:
        database.dispose()
