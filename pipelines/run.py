"""`python -m pipelines.run JOB`: runs a job in this process, recorded in the same instance that the UI shows.

Belongs here: arguments, exit codes, the life of one attended run. Does not: what a job does (`jobs`), what the
command line of the project looks like (`serving.cli`, which starts this as a process).
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import dagster as dg
import msgspec

from pipelines import terminal
from pipelines.definitions import build_definitions
from pipelines.instance import open_instance
from pipelines.interrupts import Interrupts
from pipelines.keys import SPACE_NAMES
from pipelines.lost_runs import end_lost_runs
from pipelines.outcomes import record_outcome
from pipelines.resources import Warehouse, warehouse_resource
from pipelines.summary import Summary, summarise
from warehouse import migrations
from warehouse.contracts import ExitCode, Job, Tag, Trigger, sync_config, tuning_config, vectors_config
from warehouse.engine import Database, open_database
from warehouse.ingest.roots import LibraryError, choose
from warehouse.locks import LockHeld, exclusive
from warehouse.migrations import SchemaError
from warehouse.settings import Settings, get_settings
from warehouse.storage import root_at

_INGEST_LOCK = "ingest"


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m pipelines.run", description="Run a job and wait for its end.")
    parser.add_argument("job", choices=Job.ALL, help="the job to run")
    parser.add_argument(
        "--path",
        action="append",
        type=root_at,
        default=[],
        metavar="ROOT",
        help="a library root: a folder or s3://bucket/prefix (repeatable)",
    )
    parser.add_argument("--force", action="store_true", help="trust no watermark: read, embed or tune again")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")
    parser.add_argument("--no-progress", action="store_true", help="show no progress")
    return parser.parse_args(argv)


def _run_config(options: argparse.Namespace) -> Mapping[str, Any]:
    # Errors are printed once, by us; Dagster's console log would tear the bars apart.
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    if options.job == Job.SYNC_LIBRARY:
        return {**sync_config(options.path, force=options.force), **quiet}
    if options.job == Job.REFRESH_VECTORS:
        return {**vectors_config(SPACE_NAMES, force=options.force), **quiet}
    if options.job == Job.TUNE_ENCODER:
        return {**tuning_config(force=options.force), **quiet}
    return quiet


def _prepare(database: Database, settings: Settings, options: argparse.Namespace) -> None:
    """Everything that can be refused before a run exists.

    Raises:
        SchemaError, LibraryError, LockHeld: see there.
    """
    if migrations.revision_of(database) is None:
        migrations.upgrade(database)
    migrations.require_head(database)
    if options.job == Job.SYNC_LIBRARY:
        choose(database, settings, options.path or None)
        with exclusive(database, _INGEST_LOCK):
            pass


def _root_error(result: dg.ExecuteInProcessResult) -> tuple[str, str]:
    """The class and the message of the first failed step's own error."""
    for event in result.all_events:
        if event.is_step_failure and event.step_failure_data.error is not None:
            error = event.step_failure_data.error
            while error.cause is not None and error.cls_name in ("DagsterExecutionStepExecutionError", "Failure"):
                error = error.cause
            return error.cls_name or "", error.message.partition(": ")[2].strip() or error.message.strip()
    return "", "the run failed before its first step; see the Dagster UI"


_DATABASE_AWAY = frozenset({"OperationalError", "InterfaceError"})
"""What drivers call it when a server that was there is not any more; Dagster's own storage is in it too."""
_EXIT_CODES = {"LibraryError": ExitCode.USAGE, "LockHeld": ExitCode.TEMPORARY, "SchemaError": ExitCode.CONFIGURATION}


def _execute(warehouse: Warehouse, options: argparse.Namespace, interrupts: Interrupts) -> tuple[Summary, int, str]:
    """Run the job; its summary, the exit code, and the error for people."""
    settings = warehouse.settings
    with open_instance(settings) as instance, terminal.reporting(quiet=options.no_progress) as reporter:
        end_lost_runs(instance)
        definitions = build_definitions(
            warehouse_resource(settings, reporter=interrupts.guard(reporter), attended=True)
        )
        result = definitions.resolve_job_def(options.job).execute_in_process(
            run_config=_run_config(options),
            instance=instance,
            tags={Tag.TRIGGER: Trigger.COMMAND},
            raise_on_error=False,
        )
        run = instance.get_run_by_id(result.run_id)
        assert run is not None
        record_outcome(warehouse.database, instance, run)
        summary = summarise(warehouse, instance, result)
    # Between steps Dagster takes an interrupt for a failure of the run; it is a person's wish all the same.
    if run.status is dg.DagsterRunStatus.CANCELED or (not result.success and interrupts.asked):
        return summary, ExitCode.INTERRUPTED, "interrupted; run it again and it goes on from here"
    if not result.success:
        name, message = _root_error(result)
        if name in _DATABASE_AWAY:
            lines = message.strip().splitlines() or [name]
            return summary, ExitCode.TEMPORARY, f"the database went away ({lines[0].strip()}). Run it again: it goes on"
        return summary, _EXIT_CODES.get(name, ExitCode.FAILED), message
    return summary, ExitCode.OK, ""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a job; returns the exit code."""
    options = _arguments(argv)
    settings = get_settings()
    database = open_database(settings)
    try:
        _prepare(database, settings, options)
        with Interrupts() as interrupts:
            summary, code, message = _execute(Warehouse(database, settings), options, interrupts)
    except LibraryError as error:
        return _refuse(error, ExitCode.USAGE)
    except LockHeld as error:
        return _refuse(error, ExitCode.TEMPORARY)
    except SchemaError as error:
        return _refuse(error, ExitCode.CONFIGURATION)
    except KeyboardInterrupt:
        return _refuse("interrupted before the run began", ExitCode.INTERRUPTED)
    finally:
        database.dispose()
    if options.json:
        sys.stdout.write(msgspec.json.encode(summary).decode() + "\n")
    elif summary["stages"]:
        terminal.print_summary(summary)
    return _refuse(message, code) if code else code


def _refuse(message: object, code: int) -> int:
    sys.stderr.write(f"{message}\n")
    return code


if __name__ == "__main__":
    sys.exit(main())
