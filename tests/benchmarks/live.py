"""What live progress costs with many listeners, some of whom never read: latency, and the memory of the server.

    python -m tests.benchmarks.live [--clients 500] [--deaf 20] [--seconds 60] [--picture-kb 300] [--json]

A server is started on a scratch SQLite database. The listeners are WebSockets of this process that follow all jobs;
the deaf among them shake hands, take small windows and read nothing ever after. A thread writes what a lane would
write: generations that follow each other, five ticks a second, a preview every two seconds, pictures at the end.
Latency is the time from before the transaction to the decoded message, so it has the write and this process's own work
in it. Prints the latency of ticks and of ends (whose pictures every listener is sent), and the resident memory of the
server: before the listeners came, with them waiting, its peak, and at the end.
"""

import argparse
import asyncio
import base64
import json
import os
import secrets
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec
import psutil
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from tests.benchmarks.api import percentiles, serve
from warehouse import migrations
from warehouse.engine import Database
from warehouse.engine import connect as connect_database
from warehouse.generating import PICTURES, PREVIEW
from warehouse.jobs import Ended, JobKind, JobStatus, NewJob, Tick, claim, enqueue, take_lane, update_jobs
from warehouse.pictures import PictureStore
from warehouse.queries import jobs

PATH: Final = "/ws/progress"
TICKS_PER_SECOND: Final = 5
JOB_SECONDS: Final = 10.0
PREVIEW_SECONDS: Final = 2.0
PREVIEW_BYTES: Final = 18 * 1024
LANE, HOLDER = "sdnext", "benchmark"


class Heard(msgspec.Struct):
    """What a listener looks at in a message."""

    type: str
    seq: int


@dataclass
class Told:
    """What was written, and when it was heard."""

    at: dict[int, float] = field(default_factory=dict)
    """When the transaction of an event began, by its number."""
    ends: set[int] = field(default_factory=set)
    ticks_ms: list[float] = field(default_factory=list)
    ends_ms: list[float] = field(default_factory=list)
    ended: int = 0
    """Ends that listeners heard, all together."""

    def hear(self, text: bytes) -> None:
        """A message has come to a listener."""
        now, heard = time.time(), msgspec.json.decode(text, type=Heard)
        began = self.at.get(heard.seq)
        if began is None:
            return
        if heard.type == "generation_progress":
            self.ticks_ms.append((now - began) * 1000)
        elif heard.type == "generation_complete":
            self.ends_ms.append((now - began) * 1000)
            self.ended += 1


class Generating(threading.Thread):
    """Writes generations as a lane does."""

    def __init__(self, database: Database, told: Told, seconds: float, picture: dict[str, Any]) -> None:
        super().__init__(name="lane")
        self._database, self._told, self._seconds, self._picture = database, told, seconds, picture
        self._previewed_at = 0.0

    def run(self) -> None:
        """One after the other until the time is over."""
        with self._database.write() as connection:
            take_lane(connection, LANE, "generation", HOLDER, None)
        until = time.monotonic() + self._seconds
        while time.monotonic() < until:
            self._generate()

    def _generate(self) -> None:
        with self._database.write() as connection:
            enqueue(connection, NewJob(JobKind.GENERATION, LANE, LANE, "a knight", {}))
            (job,) = claim(connection, LANE, HOLDER, None, limit=1)
        steps = int(JOB_SECONDS * TICKS_PER_SECOND)
        for step in range(1, steps + 1):
            time.sleep(1 / TICKS_PER_SECOND)
            details: dict[str, Any] = {"step": step, "steps": steps}
            if time.monotonic() - self._previewed_at > PREVIEW_SECONDS:
                self._previewed_at = time.monotonic()
                details[PREVIEW] = base64.b64encode(secrets.token_bytes(PREVIEW_BYTES)).decode()
            self._write(Tick(job, 100 * step / steps, details))
        self._write(Ended(job, JobStatus.SUCCEEDED, {PICTURES: [self._picture]}))

    def _write(self, report: Tick | Ended) -> None:
        began = time.time()
        with self._database.write() as connection:
            update_jobs(connection, HOLDER, [report])
            # Known before the commit, so before anybody hears of it.
            number = jobs.last_seq(connection)
            self._told.at[number] = began
            if isinstance(report, Ended):
                self._told.ends.add(number)


class Memory(threading.Thread):
    """The resident memory of a process, looked at ten times a second."""

    def __init__(self, process: psutil.Process) -> None:
        super().__init__(name="memory", daemon=True)
        self._process, self._stopping = process, threading.Event()
        self.peak = self.now

    @property
    def now(self) -> int:
        """MiB."""
        return int(self._process.memory_info().rss >> 20)

    def run(self) -> None:
        """Look until told to stop."""
        while not self._stopping.wait(0.1):
            self.peak = max(self.peak, self.now)

    def stop(self) -> None:
        """Look no more."""
        self._stopping.set()
        self.join()


def deaf(port: int) -> socket.socket:
    """A WebSocket that reads the answer to its handshake and nothing else."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    listener.connect(("127.0.0.1", port))
    key = base64.b64encode(secrets.token_bytes(16)).decode()
    head = f"GET {PATH} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    listener.sendall(f"{head}Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n".encode())
    if not listener.recv(12).endswith(b"101"):
        raise RuntimeError("the server refused a WebSocket")
    return listener


@contextmanager
def deaf_ones(port: int, number: int) -> Iterator[list[socket.socket]]:
    """Some of them."""
    listeners = [deaf(port) for _ in range(number)]
    try:
        yield listeners
    finally:
        for listener in listeners:
            listener.close()


def was_dropped(listener: socket.socket) -> bool:
    """Whether the server has ended a connection: behind what it had sent there is an end, or a reset."""
    listener.settimeout(1)
    try:
        while listener.recv(2**16):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


async def follow(listener: ClientConnection, told: Told) -> None:
    """Hear whatever comes."""
    with suppress(ConnectionClosed):
        while True:
            told.hear(await listener.recv(decode=False))


async def measure(port: int, memory: Memory, lane: Generating, told: Told, options: argparse.Namespace) -> int:
    """Let the listeners come, generate, and wait until they have heard it; MiB with all of them waiting."""
    url = f"ws://127.0.0.1:{port}{PATH}"
    listeners = [await connect(url, proxy=None, max_size=None) for _ in range(options.clients - options.deaf)]
    following = [asyncio.create_task(follow(listener, told)) for listener in listeners]
    await asyncio.sleep(2)
    waiting = memory.now
    await asyncio.to_thread(lane.start)
    await asyncio.to_thread(lane.join)
    given_up = time.monotonic() + 60
    while told.ended < len(told.ends) * len(listeners) and time.monotonic() < given_up:
        await asyncio.sleep(0.1)
    for listener in listeners:
        await listener.close()
    await asyncio.gather(*following, return_exceptions=True)
    return waiting


def measure_all(options: argparse.Namespace) -> dict[str, Any]:
    """Everything, on a fresh data folder."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        database = connect_database(f"sqlite:///{folder / 'warehouse.sqlite3'}")
        migrations.upgrade(database)
        data = b"\x89PNG\r\n\x1a\n" + bytes(16) + os.urandom(options.picture_kb * 1024)
        kept = PictureStore(folder / "pictures").put(data)
        picture = {"sha256": kept.sha256, "format": kept.format.value, "width": 0, "height": 0, "size": kept.size}
        process, client = serve(folder)
        told = Told()
        try:
            port = client.base_url.port or 0
            client.get("/health").raise_for_status()
            memory = Memory(psutil.Process(process.pid))
            before = memory.now
            memory.start()
            with deaf_ones(port, options.deaf) as silent:
                lane = Generating(database, told, options.seconds, picture)
                waiting = asyncio.run(measure(port, memory, lane, told, options))
                dropped = sum(was_dropped(listener) for listener in silent)
            memory.stop()
            return {
                "readers": options.clients - options.deaf,
                "deaf": options.deaf,
                "deaf_dropped": dropped,
                "messages_heard": len(told.ticks_ms) + len(told.ends_ms),
                "ends_heard": told.ended,
                "ends_written": len(told.ends),
                "tick": percentiles(told.ticks_ms) | {"max_ms": round(max(told.ticks_ms), 2)},
                "end": percentiles(told.ends_ms) | {"max_ms": round(max(told.ends_ms), 2)},
                "rss_mib": {"before": before, "waiting": waiting, "peak": memory.peak, "end": memory.now},
            }
        finally:
            client.close()
            process.terminate()
            process.wait()
            database.dispose()


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--deaf", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--picture-kb", type=int, default=300)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = measure_all(options)
    if options.json:
        print(json.dumps(found, indent=1))
        return
    for kind in ("tick", "end"):
        times = found[kind]
        print(f"{kind:5} to a reader, p50/p95/max      {times['p50_ms']:8} / {times['p95_ms']} / {times['max_ms']} ms")
    readers, written = found["readers"], found["ends_written"]
    print(f"ends heard                        {found['ends_heard']:9} of {readers * written} ({readers} readers)")
    print(f"deaf that were dropped            {found['deaf_dropped']:9} of {found['deaf']}")
    rss = found["rss_mib"]
    print(f"server, MiB: before {rss['before']}, all waiting {rss['waiting']}, peak {rss['peak']}, end {rss['end']}")


if __name__ == "__main__":
    main()
