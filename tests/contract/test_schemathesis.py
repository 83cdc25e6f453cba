"""The OpenAPI document held against the service by schemathesis: every operation with values its schema allows, the
edges of what it allows, and values it forbids; and sequences of operations that follow from each other's answers.

The edges are tried on SQLite alone: they are of the schema, and PostgreSQL gets the values made at random.

No 5xx, no status, media type, header or body that is not documented, no forbidden value accepted, no method answered
that does not exist. The run is deterministic. Left out of its checks:

- `positive_data_acceptance`: not every rule can be said in a schema. A cursor must be one that was given out, one
  weight of three must be above 0, a file must exist; what breaks such a rule fits the schema and is a 422.
- `ignored_auth`, where no keys are configured: then nothing needs one. It is checked where keys are.
- With a key that may, what asks a backend for pictures: none is configured, and the 503 that says so is a fault to the
  check. `tests/serving/test_generation.py` asks them.
"""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.conftest import BASE_URL, World, own_world
from tests.serving.conftest import KEYS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(BASE_URL), reason="it deletes what it finds: it runs on a library of its own alone"),
]

ASKING_BACKENDS = ("generate_images", "compose_and_generate", "queue_generation")


@pytest.fixture
def scratch(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """A small library that may be changed and deleted, on the dialect that the test names."""
    with own_world(request, tmp_path, request.param, adapters=12) as world:
        yield world


def conform(url: str, folder: Path, *arguments: str, without: tuple[str, ...] = ()) -> None:
    """Run it on every documented operation; fails with its report."""
    command = [str(Path(sys.executable).with_name("schemathesis")), "run", f"{url}/openapi.json", "--no-color"]
    command += ["--checks=all", f"--exclude-checks={','.join(('positive_data_acceptance', *without))}"]
    command += ["--max-examples=5", "--generation-deterministic", "--continue-on-failure"]
    # One worker: CPython 3.11 cannot parse source in two threads at once, which hypothesis does.
    command += ["--workers=1"]
    # In an empty folder, where no configuration and no examples of an earlier run lie.
    folder.mkdir()
    done = subprocess.run([*command, *arguments], cwd=folder, capture_output=True, text=True, timeout=580, check=False)
    print(done.stdout)
    report = done.stdout.partition("= FAILURES =")[2] or done.stdout
    assert done.returncode == 0, report[:20_000] + done.stderr[-2_000:]


@pytest.mark.parametrize("scratch", ["sqlite"], indirect=True)
def test_whoever_asks_gets_what_is_documented(scratch: World, tmp_path: Path) -> None:
    """Errors are RFC 9457 problem details … Nothing a client sends may cause a 500"""
    client = scratch.client("open", library_roots=[scratch.library])
    asking = [f"--exclude-operation-id={name}" for name in ASKING_BACKENDS]
    conform(str(client.base_url), tmp_path / "run", *asking, without=("ignored_auth",))
    assert client.get("/api/v1/adapters").status_code == 200


@pytest.mark.parametrize("scratch", ["postgresql"], indirect=True)
def test_a_reader_gets_what_is_documented(scratch: World, tmp_path: Path) -> None:
    """With keys configured, every route but `/health*`, `/docs`, `/openapi.json` needs one"""
    client = scratch.client("guarded", library_roots=[scratch.library], api_keys=KEYS)
    phases = "--phases=examples,fuzzing,stateful"
    conform(str(client.base_url), tmp_path / "run", "--header=X-API-Key: reader-secret", phases)
