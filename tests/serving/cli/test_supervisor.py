"""The supervisor, with real processes that die, hang, and have children of their own."""

import os
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from serving.cli import supervisor as supervision
from serving.cli.errors import CommandError
from serving.cli.processes import Identity, members, stop_groups, tail
from serving.cli.services import Service
from serving.cli.supervisor import Supervisor

SLEEP = "import time; time.sleep(600)"
STUBBORN = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
DIES_WHEN_READY = """
import os, time
while not os.path.exists({seen!r}):
    time.sleep(0.01)
os.unlink({seen!r})
raise SystemExit('no licence to run')
"""
PARENT = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {STUBBORN!r}]); {SLEEP}"


def python(
    name: str, code: str, *, ready: Callable[[float], bool] = lambda _: True, after: tuple[str, ...] = ()
) -> Service:
    return Service(name=name, title=name, command=(sys.executable, "-c", code), is_ready=ready, after=after)


class Watched:
    """A supervisor with what it said and which processes it told of."""

    def __init__(self, folder: Path, *services: Service) -> None:
        self.said: list[str] = []
        self.running: dict[str, Identity] = {}
        self.supervisor = Supervisor(
            services, logs=folder / "logs", environment={"GREETING": "hello"}, say=self.said.append, changed=self._note
        )

    def _note(self, running: dict[str, Identity]) -> None:
        self.running = running

    def until(self, condition: Callable[[], bool], *, within: float = 30) -> None:
        deadline = time.monotonic() + within
        while not condition():
            assert time.monotonic() < deadline, self.said
            self.supervisor.tick()
            time.sleep(0.02)


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Callable[..., Watched]]:
    started: list[Watched] = []

    def begin(*services: Service) -> Watched:
        started.append(Watched(tmp_path, *services))
        return started[-1]

    yield begin
    for watched in started:
        watched.supervisor.stop()


def test_services_start_in_order_and_get_the_environment(tmp_path: Path, watch: Callable[..., Watched]) -> None:
    open_gate = tmp_path / "gate"
    watched = watch(
        python("first", SLEEP, ready=lambda _: open_gate.exists()),
        python("second", f"import os; print(os.environ['GREETING'], flush=True); {SLEEP}", after=("first",)),
    )
    watched.until(lambda: "first" in watched.running)
    for _ in range(5):
        watched.supervisor.tick()
    assert watched.supervisor.waiting_for == ["first", "second"]
    assert "second" not in watched.running
    open_gate.touch()
    watched.until(lambda: not watched.supervisor.waiting_for)
    watched.until(lambda: "hello" in tail(tmp_path / "logs" / "second.log"))


def test_a_killed_service_is_reported_with_its_last_words_and_started_again(
    tmp_path: Path, watch: Callable[..., Watched]
) -> None:
    watched = watch(python("worker", f"print('last words', flush=True); {SLEEP}"))
    watched.until(lambda: "worker" in watched.running and not watched.supervisor.waiting_for)
    first = watched.running["worker"]
    watched.until(lambda: "last words" in tail(tmp_path / "logs" / "worker.log"))
    os.kill(first.pid, signal.SIGKILL)
    watched.until(lambda: watched.running["worker"] != first)
    assert "worker was killed by signal 9" in watched.said[0]
    assert "last words" in watched.said[0]


def test_a_service_that_keeps_dying_ends_everything(
    tmp_path: Path, watch: Callable[..., Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "RESTART_DELAYS", (0.01, 0.01))
    seen = tmp_path / "seen"

    def ready(_started: float) -> bool:
        seen.touch()
        return True

    broken = python("broken", DIES_WHEN_READY.format(seen=str(seen)), ready=ready)
    watched = watch(python("steady", SLEEP), broken)
    with pytest.raises(CommandError, match=r"(?s)broken ended with code 1, 3 times.*no licence to run"):
        watched.until(lambda: False)
    assert len(watched.said) == 2


def test_a_service_that_never_came_up_is_tried_once_more(watch: Callable[..., Watched]) -> None:
    watched = watch(python("broken", "raise SystemExit(3)", ready=lambda _: False))
    with pytest.raises(CommandError, match="broken ended with code 3, 2 times"):
        watched.until(lambda: False)


def test_stopping_ends_children_of_children_that_do_not_listen(
    watch: Callable[..., Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "STOP_PATIENCE", 0.5)
    watched = watch(python("parent", PARENT))
    watched.until(lambda: "parent" in watched.running)
    group = watched.running["parent"].pid
    watched.until(lambda: len(members(group)) == 2)
    time.sleep(0.3)
    watched.supervisor.stop()
    watched.until(lambda: not members(group)) if members(group) else None
    assert not members(group)


def test_a_long_log_is_set_aside_while_its_service_goes_on_writing(
    tmp_path: Path, watch: Callable[..., Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "LOG_LIMIT", 100_000)
    monkeypatch.setattr(supervision, "_LOG_LOOK_SECONDS", 0.1)
    chatter = "import time\nwhile True: print('x' * 999, flush=True); time.sleep(0.001)"
    watched = watch(python("worker", chatter))
    log, old = tmp_path / "logs" / "worker.log", tmp_path / "logs" / "worker.log.1"
    watched.until(lambda: old.exists())
    first = old.stat().st_mtime_ns
    watched.until(lambda: old.stat().st_mtime_ns > first)
    assert old.stat().st_size > 100_000
    # Emptied, not sparse: what is written next begins at its start.
    watched.until(lambda: log.read_bytes()[:1] == b"x")


def test_a_full_disk_ends_nothing(
    tmp_path: Path, watch: Callable[..., Watched], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervision, "LOG_LIMIT", 1000)
    monkeypatch.setattr(supervision, "_LOG_LOOK_SECONDS", 0.1)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    watched = watch(python("worker", SLEEP))
    watched.until(lambda: "worker" in watched.running)
    monkeypatch.setattr(shutil, "copyfile", full)
    log = tmp_path / "logs" / "worker.log"
    log.write_text("x" * 2000)
    watched.until(lambda: log.stat().st_size == 0)
    assert not log.with_suffix(".log.1").exists()

    # Started again, it can neither write a log nor be noted.
    monkeypatch.setattr(watched.supervisor, "_changed", full)
    log.unlink()
    log.mkdir()
    os.kill(watched.running["worker"].pid, signal.SIGKILL)
    watched.until(lambda: any("could not be noted" in line for line in watched.said))
    assert watched.supervisor.waiting_for == ["worker"]
    watched.until(lambda: not watched.supervisor.waiting_for)


def test_a_process_is_not_confused_with_a_later_one_of_its_number() -> None:
    own = Identity.of(os.getpid())
    assert own.is_alive()
    assert not Identity(own.pid, "1" + own.started).is_alive()


def test_what_we_ignore_a_child_hears(watch: Callable[..., Watched]) -> None:
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        watched = watch(python("worker", SLEEP))
        watched.until(lambda: "worker" in watched.running)
        assert all(signal.getsignal(number) is signal.SIG_IGN for number in before)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    assert stop_groups([watched.running["worker"].pid], patience=30) == []


def test_stopping_a_group_that_is_gone_is_nothing() -> None:
    with psutil.Popen([sys.executable, "-c", ""], process_group=0) as process:
        process.wait()
    assert stop_groups([process.pid], patience=1) == []
