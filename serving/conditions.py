"""What is not as it should be, in words, with what to do about it: for whoever looks at the status.

Belongs here: looking at every part that can be unwell. Does not: the machine's readings (`machine`), and whether
requests can be answered at all (`routers.system` has the health report). Every look is a counter, the end of an index
or something kept in the process.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address
from typing import TYPE_CHECKING

from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError

from serving.machine import LITTLE_DISK, Disk, disk_of
from serving.orchestrator import DagsterState
from warehouse import facets
from warehouse.models import utc_now
from warehouse.queries import embeddings
from warehouse.queries.job_figures import deliveries_by_status

if TYPE_CHECKING:
    from serving.deps import Services
    from serving.recommender import RecommenderState

_FULL = 95.0
"""Percent of a disk."""
_BEHIND = timedelta(hours=1)
"""How long vectors may wait for an index: a sync computes them first and publishes then."""
_SYNC = "run `lora-manager sync`"


@dataclass(frozen=True, slots=True)
class Conditions:
    """How the service is: `healthy`, `warning`, or `error` where something does not work at all."""

    status: str
    warnings: list[str]
    index: "RecommenderState"
    disk: Disk
    total: int = 0
    embedded: int = 0
    waiting: int = 0
    running: int = 0
    failed: int = 0

    @property
    def queue(self) -> int:
        """Jobs that are not done."""
        return self.waiting + self.running


def look(services: "Services", dagster: DagsterState, address: str | None) -> Conditions:
    """Look at everything.

    Args:
        address: the address of this machine at which the request came in.
    """
    index = services.recommender.state()
    disk = disk_of(services.settings.data_dir)
    warnings = [*_access(services, address), *_disk(disk), *_orchestrator(dagster, services.settings.dagster_url)]
    try:
        with services.database.read() as connection:
            total = facets.count_of(connection)
            coverage = embeddings.coverage(connection)
            jobs = deliveries_by_status(connection)
            library = [*_library(connection, total), *_vectors(coverage, total), *_index(connection, index, total)]
        published = [*_published(services, total)]
    except SQLAlchemyError:
        unreachable = (
            "The database does not answer: nothing can be looked up until it does. Start it; the log says more."
        )
        return Conditions("error", [unreachable, *warnings], index, disk)
    warnings = [*library, *published, *warnings]
    broken = index.status == "failed"
    return Conditions(
        status="error" if broken else "warning" if warnings else "healthy",
        warnings=warnings,
        index=index,
        disk=disk,
        total=total,
        embedded=max(coverage.values(), default=0),
        waiting=jobs.get("pending", 0),
        running=jobs.get("running", 0),
        failed=jobs.get("failed", 0),
    )


def _access(services: "Services", address: str | None) -> list[str]:
    if services.settings.api_keys or address is None or _is_local(address):
        return []
    return [
        (
            f"No API keys are configured and the service listens on {address}: whoever reaches it may do everything. "
            "Set LORA_MANAGER_API_KEYS, or listen on 127.0.0.1."
        )
    ]


def _is_local(address: str) -> bool:
    try:
        return ip_address(address).is_loopback
    except ValueError:
        # A socket file, or a name that a test client made up.
        return True


def _disk(disk: Disk) -> list[str]:
    if disk.free >= LITTLE_DISK and disk.percent < _FULL:
        return []
    free = f"{disk.free / 2**30:.1f} GiB"
    return [
        (
            f"The disk of the data folder is nearly full ({free} free): free some space; a publication that does not "
            "fit is not made."
        )
    ]


def _orchestrator(dagster: DagsterState, url: str) -> list[str]:
    if dagster.status == "ready":
        return []
    consequence = "changed folders are not noticed, and jobs wait"
    if dagster.status == "daemon_down":
        return [f"Dagster's daemon is down ({dagster.detail}): {consequence}. Start it with `lora-manager up`."]
    return [f"Dagster does not answer at {url}: {consequence}. Start it with `lora-manager up`."]


def _library(connection: Connection, total: int) -> list[str]:
    if total == 0:
        return ["The library is empty: `lora-manager sync FOLDER` reads one."]
    found = []
    if missing := facets.count_of(connection, "file_state", "missing"):
        found.append(f"Adapters whose file is gone: {missing:,}. Mount their disk, or delete them.")
    if broken := facets.count_of(connection, "file_state", "invalid"):
        found.append(f"Adapters whose file is broken: {broken:,}. Download them again; `problem` says what is wrong.")
    return found


def _vectors(coverage: dict[str, int], total: int) -> list[str]:
    from warehouse.vectors.spaces import SPACES

    lacking = {space.name.value: total - coverage.get(space.name, 0) for space in SPACES}
    if not any(count > 0 for count in lacking.values()):
        return []
    listed = ", ".join(f"{space} {count:,}" for space, count in lacking.items() if count > 0)
    return [
        (
            f"Adapters without vectors: {listed}. The next sync computes them; {_SYNC}, or start `refresh_vectors` in "
            "Dagster. Until then they are in no recommendation."
        )
    ]


def _index(connection: Connection, index: "RecommenderState", total: int) -> list[str]:
    match index.status:
        case "failed":
            return [f"Recommendations do not work: {index.detail}. `lora-manager doctor` says what is missing."]
        case "loading":
            return ["Recommendations are not ready yet: models and index are being loaded. Ask again in a moment."]
        case "absent":
            return [f"No index is published, so nothing is recommended: {_SYNC}."] if total else []
    return _stale(connection, index)


def _stale(connection: Connection, index: "RecommenderState") -> list[str]:
    if index.published is None:
        return []
    since = embeddings.oldest_after(connection, int(index.published.manifest["source"]["last_embedding"]))
    if since is None or utc_now() - since < _BEHIND:
        return []
    return [
        f"The index is older than vectors of {_when(since)}, which are searched beside it and more slowly: {_SYNC}."
    ]


def _when(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _published(services: "Services", total: int) -> list[str]:
    if total == 0:
        return []
    published = services.figures.published()
    if published.at is None:
        return [f"No tables are published, so analytics and some figures are missing: {_SYNC}."]
    found = []
    if quarantined := published.values.get("documents_quarantined"):
        found.append(
            f"Quarantined documents: {quarantined:,} (as of {_when(published.at)}). `lora-manager status` gives the "
            "reasons; mend or remove them."
        )
    return found
