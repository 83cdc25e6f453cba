"""The examples of clients, run as they are against a server with a fake SD.Next behind it."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.serving.generating import Studio, studio
from warehouse.engine import Database
from warehouse.settings import Settings

EXAMPLES = Path(__file__).parents[2] / "examples"
PAGE = """
const elements = {};
const element = () => ({
  addEventListener(_, run) { this.submit = run; },
  replaceChildren(...all) { this.all = all; },
});
globalThis.document = { getElementById: (id) => (elements[id] ??= element()), createElement: () => ({}) };
globalThis.location = { search: "?api=" + encodeURIComponent(process.env.API), origin: "" };
%s
elements.prompt = { value: "a knight" };
const timer = setInterval(async () => {
  const { said, images, ask } = elements;
  if (said?.textContent === "Connected." && !ask.asked) await ask.submit((ask.asked = true, { preventDefault() {} }));
  if (said?.textContent === "completed") {
    console.log(JSON.stringify({ progress: elements.bar.value, images: images.all.map((each) => each.src) }));
    process.exit(0);
  }
}, 20);
setTimeout(() => { console.error(elements.said?.textContent); process.exit(1); }, 60000);
"""


@pytest.fixture
def at(
    sqlite_database: Database, settings_for: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Studio]:
    with studio(sqlite_database, settings_for, monkeypatch) as (made, _):
        yield made


def _run(at: Studio, *command: str, folder: Path) -> str:
    kept = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    api = str(at.client.base_url).rstrip("/")
    environment = {**kept, "API": api, "LORA_MANAGER_API": api}
    with at.working():
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_client_in_python_follows_a_generation_and_writes_its_pictures(at: Studio, tmp_path: Path) -> None:
    at.fake.step_seconds = 0.05
    folder = tmp_path / "here"
    folder.mkdir()
    command = (sys.executable, str(EXAMPLES / "ws.py"), "a knight", "--steps", "12", "--size", "64")
    *lines, last = _run(at, *command, folder=folder).splitlines()
    assert any(re.fullmatch(r"running \d+ % step \d+ of 12", line) for line in lines)
    (picture,) = folder.iterdir()
    assert picture.name == last
    assert picture.read_bytes()[:3] == b"\xff\xd8\xff"
    assert at.sent()[0]["prompt"] == "a knight"


def test_the_page_follows_a_generation_and_shows_its_pictures(at: Studio, tmp_path: Path) -> None:
    node = shutil.which("node")
    options = ("--experimental-websocket", "-e", "process.exit(typeof WebSocket === 'function' ? 0 : 1)")
    if node is None or subprocess.run((node, *options), capture_output=True).returncode:
        pytest.skip("there is no node with a WebSocket here")
    (script,) = re.findall(r"<script>\n(.*?)</script>", (EXAMPLES / "ws.html").read_text(encoding="utf-8"), re.DOTALL)
    runnable = tmp_path / "page.mjs"
    runnable.write_text(PAGE % script, encoding="utf-8")
    seen = json.loads(_run(at, node, "--experimental-websocket", str(runnable), folder=tmp_path))
    (job,) = at.client.get("/api/v1/generation/jobs").json()["items"]
    images = at.job(job["id"])["result"]["images"]
    assert seen == {"progress": 100, "images": [f"data:image;base64,{image}" for image in images]}
