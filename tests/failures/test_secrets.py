"""Secrets of a running system are in nothing that it writes, prints, answers or shows: looked for everywhere.

PostgreSQL lets nobody in without the password here, so what keeps it to itself also has to know it.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import text
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect as websocket

from tests.failures.postgresql import postgresql
from tests.failures.service import environment
from tests.platform.conftest import Up
from tests.programs import ROOT
from warehouse.engine import connect
from warehouse.samples import generate_library

PASSWORD = "canary-of-the-database"
KEY = "canary-of-the-key"
FILED = "canary-in-the-file"
WRONG = "canary-that-is-wrong"
BACKEND = "canary-of-the-backend"
CANARIES = (PASSWORD, KEY, FILED, WRONG, BACKEND)
KEPT_IN = {"pgpass"}
"""Where one belongs: libpq's own file, which only its owner may read."""
INSTANCE = "{ instance { info } }"
RUNS = """{ runsOrError { ... on Runs { results { runConfigYaml tags { key value } runId
  eventConnection { events { ... on MessageEvent { message } } } } } } }"""


def _found(where: str, said: bytes) -> list[str]:
    return [f"{canary} in {where}" for canary in CANARIES if canary.encode() in said]


def _in_files(folder: Path) -> Iterator[str]:
    for path in folder.rglob("*"):
        if not path.is_file() or path.is_symlink():
            continue
        if path.name in KEPT_IN:
            assert path.stat().st_mode & 0o077 == 0, path
            continue
        yield from _found(str(path), path.read_bytes())


class _Guarded(Up):
    """A system with secrets in its environment."""

    secrets: dict[str, str]

    def _popen(self, output, environment):  # type: ignore[no-untyped-def]
        return super()._popen(output, {**environment, **self.secrets})


def _cli(variables: dict[str, str], *arguments: str) -> bytes:
    command = (sys.executable, "-m", "serving.cli.main", *arguments)
    done = subprocess.run(command, env=variables, cwd=ROOT, capture_output=True, timeout=120, check=False)
    return done.stdout + done.stderr


@pytest.fixture
def up(tmp_path: Path, models_dir: Path) -> Iterator[_Guarded]:
    """A running system on a PostgreSQL that wants a password, with keys and a backend that wants one too."""
    data, library = tmp_path / "data", tmp_path / "library"
    data.mkdir()
    (data / "models").symlink_to(models_dir)
    generate_library(library, adapters=8, seed=1)
    keys = tmp_path / "keys"
    keys.write_text(f"filed:reader:{FILED}\n")
    with postgresql() as server:
        up = _Guarded(data, tmp_path / "up.log", ("--library", os.fspath(library)))
        up.secrets = {
            "LORA_MANAGER_DATABASE_URL": server.require_password(PASSWORD),
            "LORA_MANAGER_API_KEYS": f"ruling:admin:{KEY}",
            "LORA_MANAGER_API_KEYS_FILE": os.fspath(keys),
            "LORA_MANAGER_SDNEXT_URL": "http://127.0.0.1:9",
            "LORA_MANAGER_SDNEXT_AUTH": f"someone:{BACKEND}",
            "LORA_MANAGER_LOG_LEVEL": "DEBUG",
            "LORA_MANAGER_SLOW_STATEMENT_MS": "0",
        }
        try:
            up.start()
            yield up
        finally:
            if up.process is not None and up.process.poll() is None:
                up.stop(signal.SIGTERM)


def test_no_secret_is_written_anywhere(up: _Guarded) -> None:
    found: list[str] = []
    with up.api as api:
        for key in (KEY, FILED):
            for path in ("/api/v1/adapters", "/api/v1/system/status", "/api/v1/generation/backends", "/metrics"):
                answer = api.get(path, headers={"X-API-Key": key})
                assert answer.status_code == httpx.codes.OK, answer.text
                found += _found(path, answer.content)
        for headers in ({"X-API-Key": WRONG}, {"Authorization": f"Bearer {WRONG}"}):
            answer = api.get("/api/v1/adapters", headers=headers)
            assert answer.status_code == httpx.codes.UNAUTHORIZED
            found += _found("the refusal", answer.content)
        with pytest.raises(InvalidStatus):
            websocket(f"ws://127.0.0.1:{up.port}/ws/progress?api_key={WRONG}", proxy=None)
        with websocket(f"ws://127.0.0.1:{up.port}/ws/progress?api_key={KEY}", proxy=None) as progress:
            found += _found("hello", str(progress.recv(timeout=30)).encode())
        # A generation whose backend does not answer.
        body = {"prompt": "a knight", "mode": "sdnext"}
        asked = api.post("/api/v1/generation/queue-generation", json={"prompt": "a"}, headers={"X-API-Key": KEY})
        found += _found("the generation", asked.content)
        refused = api.post("/api/v1/deliveries", json=body, headers={"X-API-Key": KEY})
        found += _found("the delivery", refused.content)
        audit = api.get("/api/v1/audit", headers={"X-API-Key": KEY})
        assert audit.status_code == httpx.codes.OK
        found += _found("the audit log", audit.content)
    for query in (INSTANCE, RUNS):
        answer = httpx.post(
            f"http://127.0.0.1:{up.dagster_port}/graphql", json={"query": query}, timeout=60, trust_env=False
        )
        assert "errors" not in answer.json(), answer.text
        found += _found("Dagster's pages", json.dumps(answer.json(), ensure_ascii=False).encode())
    variables = environment(up.data, **up.secrets)
    for command in (("doctor", "--json"), ("status",), ("keys",)):
        found += _found(" ".join(command), _cli(variables, *command))
    # Errors, too: a setting that is refused, and a database that is not there.
    broken = variables | {"LORA_MANAGER_API_KEYS": f"ruling:king:{KEY}"}
    found += _found("a refused setting", _cli(broken, "--debug", "status"))
    away = variables | {"LORA_MANAGER_DATABASE_URL": f"postgresql://u:{PASSWORD}@127.0.0.1:9/nothing"}
    for command in (("--debug", "status"), ("sync",)):
        found += _found(f"{command} without a database", _cli(away, *command))
    database = connect(up.secrets["LORA_MANAGER_DATABASE_URL"].replace("postgresql://", "postgresql+psycopg://"))
    with database.read() as connection:
        names = connection.execute(
            text("SELECT schemaname, tablename FROM pg_tables WHERE schemaname IN ('public', 'dagster')")
        ).all()
        assert {"jobs", "runs"} <= {name for _, name in names}
        for schema, name in names:
            rows = connection.execute(text(f'SELECT t::text FROM "{schema}"."{name}" t')).scalars()
            found += _found(f"table {schema}.{name}", "\n".join(rows).encode())
    database.dispose()
    assert up.stop(signal.SIGINT) == 0
    found += _found("what up printed", up.text().encode())
    found += _in_files(up.data)
    assert found == []
