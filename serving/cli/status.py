"""`lora-manager status`: what the library holds, what is published, what runs."""

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from serving.cli.context import DataOption, JsonOption, database_of, settings_of
from serving.cli.output import show_facts, show_json

if TYPE_CHECKING:
    from warehouse.queries.overview import Overview


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items()) or "none"


def _when(moment: datetime | None) -> str:
    return moment.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z") if moment else "never"


def _facts(found: "Overview", running: Mapping[str, Any]) -> list[tuple[str, object]]:
    return [
        ("Running", running.get("url", "no")),
        *(("Library", f"{root.path} (scanned {_when(root.scanned_at)})") for root in found.roots),
        ("Adapters", f"{found.adapters:,} (file: {_counted(found.adapters_by_file_state)})"),
        ("Weight files", f"{_counted(found.files_by_state)}; {found.files_unhashed:,} not hashed yet"),
        ("Documents", _counted(found.documents_by_verdict)),
        *([("Quarantined", _counted(found.quarantined_by_reason))] if found.quarantined_by_reason else []),
        ("Findings", _counted(found.findings_by_severity)),
        ("Vectors", _counted(found.embeddings_by_space)),
        *(("Published", f"{each.kind} {each.name} ({_when(each.created_at)})") for each in found.published),
        *(("At work", f"{lock.name} by {lock.holder.split('|')[1]}") for lock in found.locks),
        ("Last activity", _when(found.last_activity)),
    ]


def status(*, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Show what the library holds. Counts, quarantine, vectors, publications, and whether the system runs."""
    from dataclasses import asdict

    from serving.cli.running import RunFolder
    from warehouse.queries.overview import overview

    settings = settings_of(data)
    with database_of(settings) as database:
        found = overview(database)
    running = RunFolder(settings.data_dir).running()
    if as_json:
        show_json({"data_dir": settings.data_dir, "running": running or None, **asdict(found)})
    else:
        show_facts(_facts(found, running), title=str(settings.data_dir))
