"""Runs whose process died: nobody tells Dagster, so they would stay "started" and hold their pool for ever.

Every run is tagged with the process that executes it (`resources`); one that is gone ends its run as failed. Work
that was committed stays; the same job run again goes on from there. A process of another host cannot be looked at: it
says that it lives, by a lease under the name of the run.
"""

from collections.abc import Collection

import dagster as dg

from warehouse import presence
from warehouse.contracts import Tag
from warehouse.engine import Database
from warehouse.processes import is_gone

_RUNNING = [dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING]


def end_lost_runs(instance: dg.DagsterInstance) -> list[str]:
    """End every run whose process of this host is gone; returns their ids."""
    lost = []
    for run in instance.get_runs(dg.RunsFilter(statuses=_RUNNING)):
        process = run.tags.get(Tag.PROCESS)
        if process is not None and is_gone(process):
            instance.report_run_failed(
                run, f"The process of this run ({process}) is gone: killed, or the machine restarted. Run it again."
            )
            lost.append(run.run_id)
    return lost


def presence_name(run_id: str) -> str:
    """The name under which the process of a run is present in the warehouse."""
    return f"run:{run_id}"


def end_silent_runs(
    instance: dg.DagsterInstance, database: Database, suspects: Collection[str]
) -> tuple[list[str], list[str]]:
    """End every run that nothing was heard of, now and when the suspects were found.

    Twice, since a run that ends takes its leave a moment before Dagster says that it has ended, and a database that
    was away for minutes finds all leases expired.

    Returns:
        The ids of the runs that were ended, and those of which nothing was heard for the first time.
    """
    running = {
        run.run_id: run for run in instance.get_runs(dg.RunsFilter(statuses=_RUNNING)) if Tag.PROCESS in run.tags
    }
    names = {presence_name(run_id): run_id for run_id in running}
    silent = {names[name] for name in presence.absent(database, names)} if names else set()
    for run_id in (lost := sorted(silent & set(suspects))):
        process = running[run_id].tags[Tag.PROCESS]
        instance.report_run_failed(
            running[run_id],
            f"Nothing is heard of the process of this run ({process}): its worker or its host died. Run it again.",
        )
    return lost, sorted(silent - set(suspects))
