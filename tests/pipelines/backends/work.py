"""Small words for tests about backends: a job in the hands of one, followed to its end."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import insert

from tests.databases import migrated_sqlite
from tests.warehouse.queries.library import adapter_values
from warehouse.backends import Backend, BackendPlugin, Outcome, Progress, Submission
from warehouse.engine import open_database
from warehouse.ids import new_id
from warehouse.jobs import ClaimedJob
from warehouse.models import Adapter, Bundle, File, Root, utc_now
from warehouse.settings import Settings

During = Callable[[Submission, Progress | None], Awaitable[None]]


def claimed(mode: str, prompt: str = "a dragon", *, attempts: int = 1, key: str | None = None, **params: Any) -> Any:
    """A job as a lane has it."""
    now = utc_now()
    return ClaimedJob(1, key or new_id(), "generation", mode, mode, prompt, params, attempts, 2, 0.0, now, now)


@dataclass
class Done:
    """A job that ended."""

    outcome: Outcome
    progress: list[Progress] = field(default_factory=list)

    @property
    def result(self) -> dict[str, Any]:
        assert self.outcome.result is not None, self.outcome
        return self.outcome.result


async def follow(backend: Backend, job: ClaimedJob, *, interrupt_at: float | None = None) -> Done:
    """Hand a job over and follow it; interrupted once it has come so far, in percent."""
    submission = await backend.submit(job)
    seen: list[Progress] = []
    is_interrupted = False
    if interrupt_at == 0:
        await submission.interrupt()
        is_interrupted = True
    async for progress in submission.events():
        seen.append(progress)
        if interrupt_at is not None and progress.percent >= interrupt_at and not is_interrupted:
            is_interrupted = True
            await submission.interrupt()
    return Done(await submission.result(), seen)


def work(plugin: BackendPlugin, settings: Settings, *jobs: ClaimedJob, interrupt_at: float | None = None) -> list[Done]:
    """Have jobs done one after the other by one backend."""

    async def run() -> list[Done]:
        backend = plugin.open(settings)
        try:
            return [await follow(backend, job, interrupt_at=interrupt_at) for job in jobs]
        finally:
            await backend.close()

    return asyncio.run(run())


def library(settings: Settings, *adapters: dict[str, Any]) -> Settings:
    """Make the tables of a data folder and put adapters with hashed files into them; the settings again."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    file = settings.data_dir / "warehouse.sqlite3"
    if not file.exists():
        migrated_sqlite(file)
    database = open_database(settings)
    now = utc_now()
    with database.write() as connection:
        connection.execute(insert(Root).values(pk=1, path="/library", created_at=now))
        for number, values in enumerate(adapters, 1):
            hashes = {name: values.pop(name, None) for name in ("sha256", "payload_sha256")}
            row = adapter_values(number, **values)
            stem = str(number)
            connection.execute(insert(Bundle).values(pk=number, root_pk=1, directory="/library", stem=stem))
            file = {"pk": number, "bundle_pk": number, "path": row["file_path"], "size": 9, "mtime_ns": 1}
            connection.execute(insert(File).values(**file, state="present", first_seen_at=now, **hashes))
            connection.execute(insert(Adapter).values(**row, file_pk=number))
    database.dispose()
    return settings
