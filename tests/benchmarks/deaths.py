"""What the death of each process costs while deliveries run: nothing is lost, what arrives twice, and for how long.

    python -m tests.benchmarks.deaths [--jobs 200] [--only api,lane,…] [--json]

Starts the whole system on a scratch data folder, with a receiver on this machine. For each process in turn deliveries
are asked for by four clients, each with an idempotency key and asked for again while the API does not answer; when a
third of them have arrived, the process is killed by SIGKILL. Prints for each how many deliveries ended well, how many
arrived more than once and how many were in flight then, the longest silence of the receiver from the kill on, and the
seconds from the kill until another process of the same kind did its work.
"""

import argparse
import json
import os
import signal
import tempfile
import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import httpx
import psutil
from sqlalchemy import select

from tests.benchmarks.deliveries import PATH, system
from tests.pipelines.receiver import Receiver, receiving
from warehouse.contracts import CODE_LOCATION, DELIVERY_LOCATION
from warehouse.engine import Database, connect
from warehouse.jobs import lane_state
from warehouse.models import Job, Lane

CLIENTS: Final = 4
PATIENCE: Final = 180.0
VICTIMS: Final = {
    "api": ("serving.server",),
    "webserver": ("dagster_webserver",),
    "daemon": ("dagster._daemon",),
    "code server": ("grpc", f"--location-name {CODE_LOCATION}"),
    "lane server": ("grpc", f"--location-name {DELIVERY_LOCATION}"),
    "lane": (),
}
"""By name: what the command line of the process contains. The lane's is the holder of the lane."""


def wait_until(condition: Callable[[], bool], what: str) -> float:
    """Wait for something; how many seconds that took."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > PATIENCE:
            raise RuntimeError(f"{what} did not come within {PATIENCE:.0f} s")
        time.sleep(0.05)
    return time.monotonic() - began


def holder(database: Database) -> int | None:
    """The process that works on the lane."""
    with database.read() as connection:
        state = lane_state(connection, "http")
        name = connection.execute(select(Lane.holder).where(Lane.name == "http")).scalar()
    return int(str(name).split("|")[1]) if state is not None and state.is_alive else None


def processes(data: Path, words: Sequence[str]) -> list[int]:
    """The living processes of the system whose command line has some words."""
    found = []
    for process in psutil.process_iter():
        try:
            command = " ".join(process.cmdline())
            is_ours = process.environ().get("LORA_MANAGER_DATA_DIR") == str(data)
            if is_ours and process.status() != "zombie" and all(word in command for word in words):
                found.append(process.pid)
        except psutil.Error:
            continue
    return found


def post(client: httpx.Client, receiver: Receiver) -> str:
    """One delivery, asked for until the API says that it has it."""
    body = {"prompt": "a knight", "mode": "http", "params": {"url": f"{receiver.url}/pause"}}
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    given_up = time.monotonic() + PATIENCE
    while True:
        try:
            answer = client.post(PATH, json=body, headers=headers)
            if answer.status_code == httpx.codes.CREATED:
                delivery_id: str = answer.json()["delivery_id"]
                return delivery_id
        except httpx.TransportError:
            pass
        if time.monotonic() > given_up:
            raise RuntimeError("the API did not come back")
        time.sleep(0.1)


def kill(victim: str, data: Path, database: Database) -> tuple[set[int], set[str]]:
    """Kill a process; those of its kind that there were, and the deliveries in flight right after."""
    if victim == "lane":
        pid = holder(database)
        pids = {pid} if pid is not None else set()
    else:
        pids = set(processes(data, VICTIMS[victim]))
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    with database.read() as connection:
        return pids, set(connection.execute(select(Job.id).where(Job.status == "running")).scalars())


def is_back(victim: str, data: Path, database: Database, killed: set[int], client: httpx.Client) -> bool:
    """Whether another process of a kind is there; of the API and of what Dagster runs on, whether all is well."""
    if victim == "lane":
        return holder(database) not in (None, *killed)
    if not set(processes(data, VICTIMS[victim])) - killed:
        return False
    try:
        return client.get("/health/ready").status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


def measure(victim: str, data: Path, client: httpx.Client, receiver: Receiver, number: int) -> dict[str, Any]:
    """The death of one process."""
    database = connect(f"sqlite:///{data / 'warehouse.sqlite3'}")
    before = len(receiver.received)
    with ThreadPoolExecutor(CLIENTS) as pool:
        asked = [pool.submit(post, client, receiver) for _ in range(number)]
        wait_until(lambda: len(receiver.received) - before > number // 3, "a third of the deliveries")
        killed_at = time.time()
        killed, in_flight = kill(victim, data, database)
        back = wait_until(lambda: is_back(victim, data, database, killed, client), f"another {victim}")
        ids = [each.result() for each in asked]

    def rows() -> list[Any]:
        with database.read() as connection:
            return list(connection.execute(select(Job.id, Job.status, Job.attempts).where(Job.id.in_(ids))))

    wait_until(lambda: all(row.status not in ("pending", "running") for row in rows()), "the end of the deliveries")
    ended = rows()
    database.dispose()
    times = receiver.times()
    arrivals = sorted(each.at for each in receiver.received[before:] if each.at > killed_at)
    moments = [killed_at, *arrivals]
    twice = {each for each in ids if times[each] > 1}
    return {
        "killed": len(killed),
        "asked": len(set(ids)),
        "succeeded": sum(row.status == "succeeded" for row in ended),
        "arrived": sum(times[each] > 0 for each in ids),
        "twice": len(twice),
        "twice_not_in_flight": len(twice - in_flight),
        "attempted_twice": sum(row.attempts > 1 for row in ended),
        "in_flight": len(in_flight),
        "silence_s": round(max(b - a for a, b in pairwise(moments)), 2) if arrivals else 0.0,
        "back_s": round(back, 2),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=200)
    parser.add_argument("--only", default=",".join(VICTIMS), help="names of processes, separated by commas")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    found = {}
    with tempfile.TemporaryDirectory() as name, receiving() as receiver, system(Path(name)) as client:
        post(client, receiver)
        for victim in options.only.split(","):
            found[victim] = measure(victim, Path(name) / "data", client, receiver, options.jobs)
            if not options.json:
                print(f"{victim:12} {found[victim]}", flush=True)
    if options.json:
        print(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
