"""The log: a line each whatever it holds, the trace of a 500 under its request id, and no secret."""

import json
import logging
import socket
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from serving import logs
from tests.databases import migrated_sqlite


def record(message: str, **extra: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"msg": message, "levelname": "INFO", "name": "a", **extra})
    made.exc_info = None
    return made


@pytest.mark.parametrize("text", ["a\nb", 'a"}\n{"level":"CRITICAL"}', "\x1b[31m", "\u2028", "caf\udce9.png", "\0"])
def test_a_record_is_one_line(text: str) -> None:
    made = record("%s", args=(text,), path=text)
    line = logs.JsonLines().format(made)
    assert line.splitlines() == [line] or "\u2028" in line
    assert json.loads(line)["level"] == "INFO"
    assert json.loads(line)["path"].encode("utf-8", "surrogatepass") == text.encode("utf-8", "surrogatepass")
    plain = logs.TextLines().format(made)
    assert plain.isprintable()


def test_fields_of_a_record_are_those_of_the_request() -> None:
    token = logs.request_id.set("id-1")
    try:
        assert json.loads(logs.JsonLines().format(record("m", status=200)))["request_id"] == "id-1"
        assert logs.TextLines().format(record("m", status=200, key=None)).endswith("a: m  request_id=id-1 status=200")
    finally:
        logs.request_id.reset(token)


@pytest.mark.platform
def test_the_id_of_a_500_leads_to_its_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    migrated_sqlite(tmp_path / "warehouse.sqlite3")
    monkeypatch.setenv("LORA_MANAGER_API_KEYS", "reading:reader:reader-secret")
    monkeypatch.setenv("LORA_MANAGER_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("LORA_MANAGER_SLOW_STATEMENT_MS", "0")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path / "log"
    with log.open("wb") as stream:
        process = subprocess.Popen([sys.executable, "-m", "serving.server", "--port", str(port)], stderr=stream)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=30) as client:
            _wait_for(client, process)
            reader = {"X-API-Key": "reader-secret", "X-Request-ID": "healthy-1"}
            assert client.get("/api/v1/adapters?q=private-words", headers=reader).status_code == 200
            with sqlite3.connect(tmp_path / "warehouse.sqlite3") as connection:
                connection.execute("PRAGMA foreign_keys=OFF")
                connection.execute("DROP TABLE adapter_tags")
                connection.execute("ALTER TABLE adapters RENAME TO hidden")
            failed = client.get("/api/v1/adapters?q=private-words&sort=name", headers={"X-API-Key": "reader-secret"})
            client.get("/api/v1/adapters%0Aforged", headers={"X-API-Key": "wrong-secret"})
    finally:
        process.terminate()
        process.wait()
    assert failed.status_code == 500
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    own = [line for line in lines if line.get("request_id") == failed.json()["request_id"]]
    traces = [line["exception"] for line in own if "exception" in line]
    assert any("no such table" in trace and "Traceback" in trace for trace in traces)
    assert any(line["logger"] == "serving.requests" and line.get("status") == 500 for line in own)
    slow = [line for line in lines if line["logger"] == "warehouse.statements"]
    assert any(line.get("request_id") == "healthy-1" and line["fingerprint"] for line in slow)
    rejected = [line for line in lines if "rejected" in line["message"]]
    assert [line["client"] for line in rejected] == ["127.0.0.1"]
    text = "".join(json.dumps(line) for line in lines if "exception" not in line)
    for secret in ("reader-secret", "wrong-secret", "private-words"):
        assert secret not in text


def _wait_for(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            client.get("/health")
            return
        except httpx.ConnectError:
            time.sleep(0.05)
    raise RuntimeError("the server did not start")


@pytest.mark.parametrize("style", [logs.JsonLines, logs.TextLines])
@pytest.mark.parametrize(
    "message",
    [
        '127.0.0.1:1 - "WebSocket /ws/progress?api_key=s3cret" [accepted]',
        '127.0.0.1:1 - "WebSocket /ws/progress?a=b&API_KEY=s3cret&c=d" 403',
        "< GET /ws/progress?api_key=s3cret HTTP/1.1",
        "< X-API-Key: s3cret",
        "< authorization: Bearer s3cret",
        "GET /preview?expires=1&signature=s3cret",
    ],
)
def test_what_others_log_of_a_request_loses_its_keys(style: type[logging.Formatter], message: str) -> None:
    error = ValueError(message)
    trace = (ValueError, error, None)
    line = style().format(logging.LogRecord("uvicorn.error", logging.INFO, "", 0, message, (), trace))
    assert "s3cret" not in line
    assert line.count("…") == 2
