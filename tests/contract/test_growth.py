"""No request does work that grows with the library: the same statements, and on SQLite the same steps of its machine,
at 300 adapters and at 2,000.

What is asked for is alike in both: the same number of rows on a page, of matches, of active adapters. A page of many
matches is sorted up to a limit (`pages.CANDIDATE_LIMIT`), which is set low here, so that both libraries are beyond it.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import current_thread
from typing import Any

import httpx
import numpy as np
import pytest
from sqlalchemy import Engine, event, insert, select, text

from tests.benchmarks.search import synthetic_embeddings
from tests.contract.conftest import BASE_URL, wait_until_ready
from tests.contract.service import API
from tests.databases import scratch_database
from tests.serving.conftest import Server, scratch_settings
from tests.warehouse.queries.library import adapter_values, fill, insert_adapters
from warehouse import facets
from warehouse.engine import Database
from warehouse.models import Adapter, Embedding
from warehouse.queries import counts, pages
from warehouse.settings import Settings
from warehouse.vectors.indices import publish_index

pytestmark = pytest.mark.skipif(bool(BASE_URL), reason="counts the statements of a server in this process")

SMALL, LARGE = 300, 2_000
"""The small one has as many as a search of the index looks at before it filters."""
STEPS = 100
"""Steps of SQLite's machine that are counted at a time."""

Ask = Callable[["Library"], httpx.Response]


@dataclass
class Library:
    """A served library of some size; four adapters that are active and have a word of their own are in each."""

    database: Database
    client: httpx.Client
    ids: list[str]

    def get(self, path: str, **params: Any) -> httpx.Response:
        return self.client.get(API + path, params=params)


LISTS: dict[str, dict[str, Any]] = {
    "list": {},
    "list by downloads": {"sort": "-downloads"},
    "list by offset": {"offset": 25, "sort": "created_at"},
    "active": {"active": "true"},
    "inactive": {"active": "false", "sort": "-rating"},
    "frequent tag": {"tag": "character", "sort": "-updated_at"},
    "rare tag": {"tag": "quetzal"},
    "base model": {"base_model": "Pony"},
    "tags, any of": {"tags": "quetzal,heron"},
    "search": {"q": "quetzal"},
    "search in order": {"q": "quetzal", "sort": "size"},
    "search and filters": {"q": "quetzal", "tag": "quetzal", "active": "true", "base_model": "Quetzal"},
    "tag and base model": {"tag": "quetzal", "base_model": "Quetzal"},
}
QUESTIONS: dict[str, Ask] = {
    **{
        name: (lambda library, params=params: library.get("/adapters", limit=20, **params))
        for name, params in LISTS.items()
    },
    "get": lambda library: library.get(f"/adapters/{library.ids[0]}"),
    "provenance": lambda library: library.get(f"/adapters/{library.ids[0]}/provenance"),
    "tags": lambda library: library.get("/adapters/tags", limit=10),
    "similar": lambda library: library.get(f"/recommendations/similar/{library.ids[0]}", similarity_threshold=0),
    "embedding status": lambda library: library.get(f"/recommendations/embeddings/{library.ids[0]}/status"),
    "recommendation figures": lambda library: library.get("/recommendations/stats"),
    "dashboard": lambda library: library.get("/dashboard/stats"),
    "featured": lambda library: library.get("/dashboard/featured-loras"),
    "activity": lambda library: library.get("/dashboard/activity-feed"),
    "system": lambda library: library.get("/system/status"),
    "compose": lambda library: library.client.post(f"{API}/compose", json={}),
    "compose a set": lambda library: library.client.post(
        f"{API}/compose", json={"adapters": [{"id": each} for each in library.ids]}
    ),
    "change": lambda library: library.client.patch(f"{API}/adapters/{library.ids[0]}", json={"description": "x"}),
    "activate": lambda library: library.client.post(f"{API}/adapters/{library.ids[0]}/activate", json={"ordinal": 1}),
}


@contextmanager
def _library(request: pytest.FixtureRequest, folder: Path, dialect: str, size: int) -> Iterator[Library]:
    with scratch_database(request, folder, dialect) as database:
        settings = scratch_settings(database, folder / "data", request.getfixturevalue("models_dir"))
        fill(database, size)
        with database.write() as connection:
            connection.execute(text("UPDATE adapters SET active = false"))
            facets.repair(connection)
        four = [
            adapter_values(10**6 + number, tags=["quetzal"], base_model="Quetzal", active=True) for number in range(4)
        ]
        insert_adapters(database, four)
        _embed(database, settings, size + len(four))
        server = Server(settings)
        server.start()
        try:
            wait_until_ready(server.client)
            yield Library(database, server.client, [values["id"] for values in four])
        finally:
            server.stop()


def _embed(database: Database, settings: Settings, adapters: int) -> None:
    with database.read() as connection:
        pks = list(connection.execute(select(Adapter.pk).order_by(Adapter.pk)).scalars())
    assert pks == list(range(1, adapters + 1))
    for _, rows in synthetic_embeddings(np.random.default_rng(0), settings, adapters):
        with database.write() as connection:
            connection.execute(insert(Embedding), rows)
    publish_index(database, settings)
    if not database.is_sqlite:
        with database.write() as connection:
            connection.execute(text("ANALYZE"))


@pytest.fixture(
    scope="module",
    params=[pytest.param(each, marks=pytest.mark.xdist_group(f"contract-{each}")) for each in ("sqlite", "postgresql")],
)
def libraries(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Library, Library]]:
    """A small and a large library, alike but for the rest of their adapters."""
    folder = tmp_path_factory.mktemp(f"growth-{request.param}")
    (folder / "small").mkdir()
    (folder / "large").mkdir()
    with (
        _library(request, folder / "small", request.param, SMALL) as small,
        _library(request, folder / "large", request.param, LARGE) as large,
    ):
        yield small, large


def work_of(library: Library, ask: Ask) -> tuple[int, int]:
    """(statements, steps) of a request: the least of several, since what a server does beside it is not the
    request's."""
    counted: Counter[str] = Counter()

    def step() -> int:
        counted["steps"] += STEPS
        return 0

    def note(connection: Any, _cursor: Any, _statement: str, *_: Any) -> None:
        # Handlers run in threads of their own; what the server does beside them, as watching for a new index, does not.
        if connection.engine.url != library.database.engine.url or not current_thread().name.startswith("AnyIO"):
            return
        counted["statements"] += 1
        if library.database.is_sqlite:
            connection.connection.dbapi_connection.set_progress_handler(step, STEPS)

    found = []
    event.listen(Engine, "before_cursor_execute", note)
    try:
        for _ in range(6):
            counted.clear()
            response = ask(library)
            assert response.status_code == 200, response.text[:500]
            found.append((counted["statements"], counted["steps"]))
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    statements, steps = zip(*found[1:], strict=True)
    return min(statements), min(steps)


@pytest.mark.parametrize("question", QUESTIONS)
def test_no_request_does_work_that_grows_with_the_library(
    libraries: tuple[Library, Library], question: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same statements and the same steps, however many other adapters there are."""
    monkeypatch.setattr(pages, "CANDIDATE_LIMIT", 10)
    # Whether a count is remembered depends on how long it took.
    monkeypatch.setattr(counts._Counts, "WORTH_KEEPING", float("inf"))
    (few, little), (many, much) = (work_of(library, QUESTIONS[question]) for library in libraries)
    # Fewer are possible: a page that a few matches do not fill goes on among those whose value is unknown.
    assert many <= few
    # One look at every adapter would take LARGE times some steps; trees are a little deeper, pages a little fuller.
    assert much < 1.5 * little + LARGE
