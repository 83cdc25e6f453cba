"""Runs whose process died: nobody tells Dagster, so they would stay "started" and hold their pool for ever.

Every run is tagged with the process that executes it (`resources`); one that is gone ends its run as failed. Work
that was committed stays; the same job run again goes on from there.
"""

import dagster as dg

from warehouse.contracts import Tag
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
