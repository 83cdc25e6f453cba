"""Ten thousand sockets that say nothing, against the API as a process: bounded, and over by themselves."""

import resource
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx
import pytest

from tests.failures.service import Service, eventually, served

IDLE = 10_000
OPEN_FOR_ITSELF = 64
"""Files that the API has open beside its connections: more than it needs, far less than connections would take."""


@pytest.fixture
def many_files() -> Iterator[int]:
    """How many sockets this process may have open now: as many as the system lets it, at most `IDLE`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield min(IDLE, hard - 512)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def _idle(service: Service, number: int, stack: ExitStack) -> list[socket.socket]:
    """Sockets that have connected, or were refused, and say nothing."""
    idle = []
    for _ in range(number):
        raw = stack.enter_context(socket.socket())
        raw.settimeout(60)
        raw.connect(("127.0.0.1", service.port))
        idle.append(raw)
    return idle


def _is_closed(raw: socket.socket) -> bool:
    """Whether the server has ended the connection; takes what it said before."""
    raw.setblocking(False)
    try:
        return raw.recv(4096) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True


@contextmanager
def _asking(service: Service) -> Iterator[list[int]]:
    """Ask again and again over one connection; the statuses of the answers."""
    answers: list[int] = []
    over = threading.Event()

    def ask() -> None:
        with httpx.Client(base_url=service.client.base_url, timeout=60, trust_env=False, verify=False) as client:
            while not over.is_set():
                answers.append(client.get("/health").status_code)

    thread = threading.Thread(target=ask)
    thread.start()
    eventually(lambda: answers, "the first answer")
    try:
        yield answers
    finally:
        over.set()
        thread.join()


def test_ten_thousand_idle_sockets_are_bounded_and_over_by_themselves(data: Path, many_files: int) -> None:
    bound = 200
    with served(data, variables={"LORA_MANAGER_MAX_CONNECTIONS": str(bound)}) as service, ExitStack() as stack:
        at_rest = service.seen.num_fds()
        with _asking(service) as answers:
            idle = _idle(service, many_files, stack)
        # Who was let in before is answered throughout.
        assert len(answers) > 1
        assert set(answers) == {httpx.codes.OK}
        eventually(lambda: service.seen.num_fds() <= at_rest + bound, "no more connections than the bound are open")
        # Nobody does anything: the API ends what says nothing, and serves again.
        left = list(idle)

        def all_closed() -> bool:
            left[:] = [raw for raw in left if not _is_closed(raw)]
            return not left

        eventually(all_closed, "every idle connection is ended")
        eventually(service.answers, "the API answers a new client")
        assert service.seen.num_fds() <= at_rest + OPEN_FOR_ITSELF
        assert "Traceback" not in service.text()


def test_more_connections_than_files_shut_nobody_out_of_what_needs_a_file(data: Path, many_files: int) -> None:
    files = 200

    def few_files() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, files))

    variables = {"LORA_MANAGER_MAX_CONNECTIONS": "5000"}
    with served(data, setup=few_files, variables=variables) as service, ExitStack() as stack:
        assert "(ulimit -n)" in service.text()
        assert service.client.get("/api/v1/adapters").status_code == httpx.codes.OK
        for _ in range(5):
            _idle(service, files, stack)
            # Whoever is let in gets what opens the database; the others are told why not.
            answer = service.client.get("/api/v1/adapters")
            assert answer.status_code == httpx.codes.OK or "too many connections" in answer.text
            assert service.seen.num_fds() < files
        eventually(lambda: service.client.get("/api/v1/adapters").status_code == httpx.codes.OK, "there is room again")
        assert "Too many open files" not in service.text()
