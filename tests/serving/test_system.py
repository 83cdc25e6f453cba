"""The status of the system over HTTP: warnings that say what to do, and numbers in the units of front ends."""

import re
import socket
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import TypeAdapter
from sqlalchemy import insert, text

from serving import conditions, machine
from serving.schemas.system import Metrics, SystemStatus
from tests.warehouse.marts import library
from tests.warehouse.queries.library import adapter_values, fill, insert_adapters
from warehouse.engine import Database
from warehouse.marts import export_marts
from warehouse.models import Activity, utc_now
from warehouse.settings import Settings

ROUTE = "/api/v1/system/status"


def status_of(client: httpx.Client) -> dict[str, Any]:
    response = client.get(ROUTE)
    assert response.status_code == 200, response.text
    status: dict[str, Any] = response.json()
    TypeAdapter(SystemStatus).validate_python(status)
    assert status.keys() == SystemStatus.model_fields.keys()
    assert status["metrics"].keys() == Metrics.model_fields.keys()
    return status


def test_an_empty_library_is_told_how_to_begin(client: httpx.Client) -> None:
    status = status_of(client)
    assert status["status"] in ("warning", "error")
    assert any("lora-manager sync FOLDER" in warning for warning in status["warnings"])
    assert not any(warning.startswith("No ") for warning in status["warnings"])
    assert (status["queue_length"], status["queue"]["failed"]) == (0, 0)


def test_numbers_are_percent_and_mebibytes(sqlite_client: httpx.Client) -> None:
    status = status_of(sqlite_client)
    metrics = status["metrics"]
    assert 0 <= metrics["cpu"]["percent"] == metrics["cpu_percent"] <= 100
    assert 0 < metrics["memory"]["percent"] == metrics["memory_percent"] <= 100
    assert 0 < metrics["memory_used"] <= metrics["memory_total"] == metrics["memory"]["total"] < 2**24
    assert metrics["disk"]["used"] <= metrics["disk"]["total"] == metrics["disk_total"]
    assert len(metrics["cpu"]["load_average"]) == 3
    assert isinstance(metrics["gpus"], list)
    assert status["memory_total"] > 0


def test_what_is_not_well_is_said_with_what_to_do(
    client: httpx.Client, database: Database, settings_for: Callable[..., Settings]
) -> None:
    rows = [adapter_values(number, name=f"N{number}") for number in range(1, 4)]
    rows.append(adapter_values(4, file_state="missing"))
    rows.append(adapter_values(5, file_state="invalid"))
    insert_adapters(database, rows)
    warnings = " ".join(status_of(client)["warnings"])
    for expected in (
        "Adapters whose file is gone: 1.",
        "Adapters whose file is broken: 1.",
        "Adapters without vectors: semantic 5, artistic 5, technical 5.",
        "No tables are published",
        "Dagster does not answer at http://127.0.0.1:9",
    ):
        assert expected in warnings
    export_marts(database, settings_for(database))
    assert "No tables are published" not in " ".join(status_of(client)["warnings"])


def test_quarantined_documents_are_told_as_published(
    sqlite_database: Database, serve: Callable[..., httpx.Client], settings_for: Callable[..., Settings]
) -> None:
    library.fill(sqlite_database)
    export_marts(sqlite_database, settings_for(sqlite_database))
    warnings = status_of(serve(sqlite_database))["warnings"]
    assert any(warning.startswith("Quarantined documents: 1 (as of ") for warning in warnings)


def test_a_full_disk_is_told(sqlite_client: httpx.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not any("nearly full" in warning for warning in status_of(sqlite_client)["warnings"])
    monkeypatch.setattr(
        conditions, "disk_of", lambda _folder: machine.Disk(total=100 * 2**30, used=99 * 2**30, free=2**30)
    )
    status = status_of(sqlite_client)
    assert any("nearly full (1.0 GiB free)" in warning for warning in status["warnings"])
    health = sqlite_client.get("/api/dashboard/stats").json()["system_health"]
    assert health["storage_usage"] == "99.0 GB / 100.0 GB (99%)"


@pytest.mark.parametrize(
    ("address", "keys", "warned"),
    [
        ("127.0.0.1", False, False),
        ("::1", False, False),
        (None, False, False),
        ("testserver", False, False),
        ("192.168.1.20", False, True),
        ("192.168.1.20", True, False),
    ],
)
def test_an_open_service_on_the_network_is_told(
    sqlite_database: Database, settings_for: Callable[..., Settings], address: str | None, keys: bool, warned: bool
) -> None:
    from types import SimpleNamespace

    settings = settings_for(sqlite_database, **({"api_keys": "a:admin:secret-of-a"} if keys else {}))
    found = conditions._access(SimpleNamespace(settings=settings), address)  # type: ignore[arg-type]
    assert bool(found) is warned


def test_front_ends_can_read_sizes_from_texts(client: httpx.Client) -> None:
    health = client.get("/api/dashboard/stats").json()["system_health"]
    assert re.fullmatch(r"\d+\.\d GB / \d+\.\d GB \(\d+%\)", health["storage_usage"])
    assert isinstance(health["gpu_memory"], str)
    assert health["status"] in ("healthy", "warning", "error")
    assert health["queue_status"] == "idle"


def test_the_last_ingest_is_that_of_the_feed(client: httpx.Client, database: Database) -> None:
    fill(database, 3)
    assert status_of(client)["importer"] == {"total_adapters": 3, "last_ingested_at": None}
    moment = utc_now().replace(microsecond=0)
    with database.write() as connection:
        rows = [
            {"at": moment - timedelta(days=day), "kind": kind, "summary": "x"}
            for day, kind in ((1, "sync"), (0, "activation"), (2, "sync"))
        ]
        connection.execute(insert(Activity), rows)
    told = status_of(client)["importer"]["last_ingested_at"]
    assert told == (moment - timedelta(days=1)).isoformat().replace("+00:00", "Z")


def test_the_status_answers_while_the_database_does_not(sqlite_client: httpx.Client, sqlite_database: Database) -> None:
    with sqlite_database.write() as connection:
        connection.execute(text("ALTER TABLE facet_counts RENAME TO gone"))
    status = status_of(sqlite_client)
    assert status["status"] == "error"
    assert status["warnings"][0].startswith("The database does not answer")


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        taken: list[socket.socket] = []

        def accept() -> None:
            try:
                while True:
                    taken.append(server.accept()[0])
            except OSError:
                return

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        for connection in taken:
            connection.close()
        server.shutdown(socket.SHUT_RDWR)


def test_a_dagster_that_hangs_keeps_no_dashboard_waiting(
    sqlite_database: Database, settings_for: Callable[..., Settings], silent: int
) -> None:
    from tests.serving.conftest import Server

    settings = settings_for(sqlite_database).model_copy(update={"dagster_url": f"http://127.0.0.1:{silent}"})
    server = Server(settings)
    server.start()
    try:
        health = server.client.get("/api/dashboard/stats").json()["system_health"]
        assert health["dagster_status"] == "unreachable"
        ready = server.client.get("/health/ready").json()
        assert ready["checks"]["dagster"]["detail"].startswith("Dagster's webserver does not answer")
    finally:
        server.stop()


def test_the_disk_of_a_folder_that_is_not_made_yet(tmp_path: Path) -> None:
    assert machine.disk_of(tmp_path / "not" / "made").total == machine.disk_of(tmp_path).total
