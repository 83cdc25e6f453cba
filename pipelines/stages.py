"""What every asset does around its one function of `warehouse`: errors into outcomes, a report into metadata.

Belongs here: the mapping between the two worlds. Does not: work on the data, and what one asset alone shows.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dagster as dg
from sqlalchemy.exc import InterfaceError, OperationalError

from pipelines.resources import Warehouse
from warehouse.contracts import Metadata
from warehouse.ingest import StorageError
from warehouse.ingest.report import StageReport
from warehouse.locks import LockHeld

_LOCK_POLL_SECONDS = 15
_LOCK_POLLS = 240
"""An unattended run waits up to an hour for the lock of another."""

_TRANSIENT = (OperationalError, InterfaceError, ConnectionError, TimeoutError)
"""What may pass by itself; the retry policy of the asset tries these again, and nothing else."""


@contextmanager
def stage(context: dg.AssetExecutionContext, warehouse: Warehouse) -> Iterator[None]:
    """Run the body of an asset; its errors become what Dagster should do about them.

    A lock held elsewhere is waited for, unless a person waits; what may pass by itself goes to the retry policy;
    every other error ends the run at once with its message, for the same input would fail the same way.
    """
    try:
        yield
    except dg.DagsterExecutionInterruptedError:
        if warehouse.attended:
            # Dagster takes an interrupt that nobody announced for a crash; this one is a person's Ctrl-C.
            context.instance.report_run_canceling(context.run, "Interrupted at the terminal.")
        raise
    except LockHeld as held:
        if warehouse.attended:
            raise dg.Failure(str(held), allow_retries=False) from held
        context.log.info("%s; trying again in %d s", held, _LOCK_POLL_SECONDS)
        raise dg.RetryRequested(max_retries=_LOCK_POLLS, seconds_to_wait=_LOCK_POLL_SECONDS) from held
    except (*_TRANSIENT, dg.Failure, dg.RetryRequested):
        raise
    except Exception as error:
        if isinstance(error, StorageError) and error.may_pass:
            raise
        raise dg.Failure(str(error) or type(error).__name__, allow_retries=False) from error


def metadata_of(report: StageReport, preview: str, **more: Any) -> Mapping[str, Any]:
    """The metadata of a materialization: the keys that all have, then those of this asset."""
    return {
        Metadata.ROWS: report.rows,
        Metadata.CHANGED: report.changed,
        Metadata.SKIPPED: report.skipped,
        Metadata.REJECTED: report.rejected,
        Metadata.SECONDS: round(report.seconds, 3),
        Metadata.PREVIEW: dg.MetadataValue.md(preview),
        **more,
    }


class Stopwatch:
    """Seconds since it was made, for what does not time itself."""

    def __init__(self) -> None:
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """Elapsed seconds."""
        return time.monotonic() - self._started
