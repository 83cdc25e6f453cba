"""What a delivery costs: from the request to the receiver, on a warm lane and on a cold one, and many of them.

    python -m tests.benchmarks.deliveries [--warm 100] [--many 1000] [--runs 5] [--json]

Starts the whole system on scratch data folders, with a receiver on this machine. The baseline of the same run is one
Dagster run for each delivery: the same system with lanes that leave as soon as they are empty.
"""

import argparse
import contextlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx

from pipelines.backends.http import PLUGIN
from tests.benchmarks.api import free_port, percentiles
from tests.pipelines.receiver import Receiver, receiving
from warehouse.engine import connect
from warehouse.jobs import NewJob, enqueue, lane_state

PATH = "/api/v1/deliveries"
CLIENTS = 8


@contextlib.contextmanager
def system(folder: Path, **environment: str) -> Iterator[httpx.Client]:
    """`lora-manager up` on a fresh data folder; a client of its API."""
    port, data = free_port(), folder / "data"
    command = [sys.executable, "-m", "serving.cli.main", "up", "--data", str(data), "--no-sample"]
    command += ["--port", str(port), "--dagster-port", str(free_port())]
    output = folder / "up.log"
    with output.open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **environment})
    try:
        while "Ctrl-C stops everything" not in output.read_text():
            if process.poll() is not None:
                raise RuntimeError(output.read_text())
            time.sleep(0.2)
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=60) as client:
            yield client
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait()


def post(client: httpx.Client, receiver: Receiver) -> str:
    """One delivery; its id."""
    body = {"prompt": "a knight", "mode": "http", "params": {"url": receiver.url}}
    delivery_id: str = client.post(PATH, json=body).raise_for_status().json()["delivery_id"]
    return delivery_id


def arrival(receiver: Receiver, delivery_id: str, began: float) -> float:
    """Milliseconds until a delivery arrived."""
    while True:
        for received in reversed(receiver.received):
            if received.delivery_id == delivery_id:
                return (received.at - began) * 1000
        time.sleep(0.001)


def one_by_one(client: httpx.Client, receiver: Receiver, times: int, pause: float) -> tuple[list[float], list[float]]:
    """Milliseconds to the receiver, and to the answer, of deliveries that follow each other."""
    arrived, answered = [], []
    for _ in range(times):
        began = time.time()
        delivery_id = post(client, receiver)
        answered.append((time.time() - began) * 1000)
        arrived.append(arrival(receiver, delivery_id, began))
        time.sleep(pause)
    return arrived, answered


def wait_for(receiver: Receiver, ids: list[str]) -> float:
    """Wait until all have arrived; when the last did."""
    # The receiver is in this process: looking at all that it has is work that it then cannot do.
    while not set(ids) <= set(receiver.times()):
        time.sleep(0.25)
    times = receiver.times()
    assert all(times[delivery_id] == 1 for delivery_id in ids), "a delivery arrived twice"
    wanted = set(ids)
    return max(received.at for received in receiver.received if received.delivery_id in wanted)


def many(client: httpx.Client, receiver: Receiver, number: int) -> dict[str, float]:
    """Deliveries from several clients at once, from the first request to the last arrival."""
    began = time.time()
    with ThreadPoolExecutor(CLIENTS) as pool:
        ids = list(pool.map(lambda _: post(client, receiver), range(number)))
    posted = time.time() - began
    took = wait_for(receiver, ids) - began
    return {"posts_per_second": round(number / posted, 1), "deliveries_per_second": round(number / took, 1)}


def drained(folder: Path, receiver: Receiver, number: int) -> float:
    """Deliveries a second of a lane that finds all of them waiting."""
    database = connect(f"sqlite:///{folder / 'data' / 'warehouse.sqlite3'}")
    with database.write() as connection:
        job = NewJob(PLUGIN.kind, PLUGIN.name, PLUGIN.lane, "a knight", {"url": receiver.url}, 3)
        ids = [enqueue(connection, job).id for _ in range(number)]
    began = time.time()
    took = wait_for(receiver, ids) - began
    database.dispose()
    return round(number / took, 1)


def left(folder: Path) -> bool:
    """Whether no run works on the lane."""
    database = connect(f"sqlite:///{folder / 'data' / 'warehouse.sqlite3'}")
    with database.read() as connection:
        state = lane_state(connection, PLUGIN.lane)
    database.dispose()
    return state is None or not state.is_alive


def measure_lanes(receiver: Receiver, options: argparse.Namespace) -> dict[str, Any]:
    """The system as it is."""
    with tempfile.TemporaryDirectory() as name, system(Path(name)) as client:
        (cold,), _ = one_by_one(client, receiver, 1, 0)
        arrived, answered = one_by_one(client, receiver, options.warm, 0.05)
        return {
            "cold_ms": round(cold),
            "warm": percentiles(arrived),
            "answer": percentiles(answered),
            "many": many(client, receiver, options.many),
            "drained_per_second": drained(Path(name), receiver, options.many),
        }


def measure_runs(receiver: Receiver, options: argparse.Namespace) -> dict[str, Any]:
    """One Dagster run for each delivery."""
    with tempfile.TemporaryDirectory() as name, system(Path(name), LORA_MANAGER_LANE_LINGER_SECONDS="0") as client:
        arrived = []
        began = time.time()
        for _ in range(options.runs):
            arrived += one_by_one(client, receiver, 1, 0)[0]
            while not left(Path(name)):
                time.sleep(0.05)
        took = time.time() - began
    return {"p50_ms": round(statistics.median(arrived)), "deliveries_per_second": round(options.runs / took, 2)}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--warm", type=int, default=100)
    parser.add_argument("--many", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with receiving() as receiver:
        lanes = measure_lanes(receiver, options)
        if not options.json:
            show(lanes, options)
        runs = measure_runs(receiver, options)
    if options.json:
        print(json.dumps({"lanes": lanes, "one run each": runs}, indent=1))
    else:
        print(
            f"one Dagster run each, p50                {runs['p50_ms']:8} ms, {runs['deliveries_per_second']} a second"
        )


def show(lanes: dict[str, Any], options: argparse.Namespace) -> None:
    """Print what lanes cost."""
    print(f"cold lane, request to receiver           {lanes['cold_ms']:8} ms")
    print(f"warm lane, request to receiver, p50/p95  {lanes['warm']['p50_ms']:8} / {lanes['warm']['p95_ms']} ms")
    print(f"request to answer, p50/p95               {lanes['answer']['p50_ms']:8} / {lanes['answer']['p95_ms']} ms")
    print(f"{options.many} from {CLIENTS} clients, each once: {lanes['many']['deliveries_per_second']:13} a second")
    print(f"{options.many} that wait, each once:        {lanes['drained_per_second']:13} a second", flush=True)


if __name__ == "__main__":
    main()
