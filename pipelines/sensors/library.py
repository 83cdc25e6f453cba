"""`library_watch`: asks for a sync when a library folder looks different from the last scan and the last request."""

from pathlib import Path

import dagster as dg
import msgspec

from pipelines import figures
from pipelines.resources import Warehouse
from warehouse import ingest
from warehouse.contracts import Job, Tag, Trigger

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


class Cursor(msgspec.Struct, frozen=True):
    """What was last asked for: the signature, and a number that makes the key of each request its own."""

    signature: str
    number: int


def _read_cursor(text: str | None) -> Cursor:
    try:
        return msgspec.json.decode(text or "", type=Cursor)
    except msgspec.DecodeError:
        return Cursor("", 0)


@dg.sensor(
    job_name=Job.SYNC_LIBRARY,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Every 30 s: does a library folder look different from the last time? Then a sync is asked for. "
    "Reads the times of folders, never the files; a sync that is under way is waited for.",
)
def library_watch(
    context: dg.SensorEvaluationContext, warehouse: dg.ResourceParam[Warehouse]
) -> dg.SensorResult | dg.SkipReason:
    """Compare the signature of the folders with the cursor."""
    syncs = context.instance.get_run_records(dg.RunsFilter(job_name=Job.SYNC_LIBRARY, statuses=UNFINISHED), limit=1)
    if syncs:
        return dg.SkipReason(f"a sync is under way (run {syncs[0].dagster_run.run_id[:8]})")
    with warehouse.database.read() as connection:
        scanned = figures.root_signatures(connection)
    roots = list(dict.fromkeys([*warehouse.settings.library_roots, *(Path(path) for path in scanned)]))
    if not roots:
        return dg.SkipReason("no library folder is known yet: `lora-manager sync FOLDER` makes one known")
    signature = ingest.library_signature(warehouse.settings, roots)
    seen = _read_cursor(context.cursor)
    if signature == seen.signature:
        return dg.SkipReason("no library folder has changed")
    cursor = Cursor(signature, seen.number + 1)
    state = msgspec.json.encode(cursor).decode()
    if all(ingest.library_signature(warehouse.settings, [root]) == scanned.get(str(root)) for root in roots):
        return dg.SensorResult(skip_reason="the last scan saw the library folders as they are", cursor=state)
    request = dg.RunRequest(run_key=f"library:{cursor.number}:{signature}", tags={Tag.TRIGGER: Trigger.WATCH})
    return dg.SensorResult(run_requests=[request], cursor=state)
