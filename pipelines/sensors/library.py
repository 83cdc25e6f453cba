"""`library_watch`: asks for a sync when a folder or a file of the library looks different from what was last seen."""

import dagster as dg
import msgspec

from pipelines import figures
from pipelines.resources import Warehouse
from warehouse import ingest
from warehouse.contracts import Job, Tag, Trigger
from warehouse.ingest.sweep import Position, sweep_edits
from warehouse.storage import root_at

UNFINISHED = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
]


class Cursor(msgspec.Struct, frozen=True):
    """What was last asked for (folders by their signature, an edited file by its state), a number that makes the key
    of each request its own, and where the sweep for edits goes on."""

    signature: str = ""
    number: int = 0
    edited: str | None = None
    position: Position = Position()

    def text(self) -> str:
        """As Dagster keeps it."""
        return msgspec.json.encode(self).decode()


def _read_cursor(text: str | None) -> Cursor:
    try:
        return msgspec.json.decode(text or "", type=Cursor)
    except msgspec.DecodeError:
        return Cursor()


@dg.sensor(
    job_name=Job.SYNC_LIBRARY,
    minimum_interval_seconds=30,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Every 30 s: does a library folder look different from the last time, or one of the next thousands of "
    "files, round and round? Then a sync is asked for. Reads times and sizes only; a sync that is under way is waited "
    "for.",
)
def library_watch(
    context: dg.SensorEvaluationContext, warehouse: dg.ResourceParam[Warehouse]
) -> dg.SensorResult | dg.SkipReason:
    """Compare the folders and some files with what was last seen."""
    syncs = context.instance.get_run_records(dg.RunsFilter(job_name=Job.SYNC_LIBRARY, statuses=UNFINISHED), limit=1)
    if syncs:
        return dg.SkipReason(f"a sync is under way (run {syncs[0].dagster_run.run_id[:8]})")
    with warehouse.database.read() as connection:
        scanned = figures.root_signatures(connection)
    roots = list(dict.fromkeys([*warehouse.settings.library_roots, *(root_at(path) for path in scanned)]))
    if not roots:
        return dg.SkipReason("no library folder is known yet: `lora-manager sync FOLDER` makes one known")
    signature = ingest.library_signature(warehouse.settings, roots)
    seen = _read_cursor(context.cursor)
    if signature == seen.signature:
        return _sweep(context, warehouse, seen)
    cursor = msgspec.structs.replace(seen, signature=signature, number=seen.number + 1)
    if all(ingest.library_signature(warehouse.settings, [root]) == scanned.get(str(root)) for root in roots):
        return dg.SensorResult(skip_reason="the last scan saw the library folders as they are", cursor=cursor.text())
    return _request(cursor, signature)


def _sweep(context: dg.SensorEvaluationContext, warehouse: Warehouse, seen: Cursor) -> dg.SensorResult | dg.SkipReason:
    """Look at the next files; the same state of a file is asked for once, whatever became of that sync."""
    found = sweep_edits(warehouse.database, seen.position)
    cursor = msgspec.structs.replace(seen, position=found.position)
    if found.edited is None or found.edited == seen.edited:
        context.update_cursor(cursor.text())
        return dg.SkipReason("no library folder has changed, nor has any of the files that were looked at")
    return _request(msgspec.structs.replace(cursor, number=seen.number + 1, edited=found.edited), found.edited)


def _request(cursor: Cursor, reason: str) -> dg.SensorResult:
    request = dg.RunRequest(run_key=f"library:{cursor.number}:{reason}", tags={Tag.TRIGGER: Trigger.WATCH})
    return dg.SensorResult(run_requests=[request], cursor=cursor.text())
