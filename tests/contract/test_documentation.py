"""The examples of `docs/api/`: each command is run, by curl where there is one, and answers what the page says.

A ```sh block holds one curl command, the ```json block after it a part of its answer: objects may have more fields and
lists more items, and `"…"` is any value. `$ID`, `$CURSOR` and `$KEY` are filled in from earlier answers.
"""

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.contract.conftest import World
from tests.contract.service import Service

FOLDER = Path(__file__).parents[2] / "docs" / "api"
PAGES = sorted(path.name for path in FOLDER.glob("*.md"))
BASE = "http://127.0.0.1:8000"
FILE = "/library/ink-dragon.safetensors"


@dataclass
class Example:
    """A command and what its answer holds; None where it is not said."""

    command: str
    expected: Any


def examples(page: str) -> Iterator[Example]:
    """The examples of a page, in order."""
    blocks = re.findall(r"^```(\w+)\n(.*?)^```$", (FOLDER / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    for number, (language, text) in enumerate(blocks):
        if language == "sh":
            follows = blocks[number + 1] if number + 1 < len(blocks) else ("", "")
            yield Example(text.strip(), json.loads(follows[1]) if follows[0] == "json" else None)


def holds(answer: Any, expected: Any) -> bool:
    """Whether an answer holds what is expected of it."""
    if expected == "…":
        return True
    if isinstance(expected, dict):
        return isinstance(answer, dict) and all(
            key in answer and holds(answer[key], value) for key, value in expected.items()
        )
    if isinstance(expected, list):
        enough = isinstance(answer, list) and len(answer) >= len(expected)
        return enough and all(holds(item, wanted) for item, wanted in zip(answer, expected, strict=False))
    return type(answer) is type(expected) and bool(answer == expected)


def run(command: str, variables: dict[str, str]) -> Any:
    """The JSON that a command prints; None of nothing."""
    for name, value in variables.items():
        command = command.replace(f"'${name}'", value).replace(f"${name}", value)
    words = shlex.split(command.replace("\\\n", " "))
    assert words[0] == "curl", "a page shows curl commands alone"
    printed = _curl(words) if shutil.which("curl") else _httpx(words[1:])
    return json.loads(printed) if printed else None


def _curl(words: list[str]) -> str:
    done = subprocess.run(
        ["curl", "--silent", "--show-error", "--noproxy", "*", *words[1:]], capture_output=True, text=True, check=True
    )
    return done.stdout


def _httpx(words: list[str]) -> str:
    """What curl would do, as far as the pages use it."""
    method, headers, data, in_query, url = "", {}, [], False, ""
    rest = iter(words)
    for word in rest:
        if word == "-X":
            method = next(rest)
        elif word == "-H":
            name, _, value = next(rest).partition(": ")
            headers[name] = value
        elif word in ("-d", "--data-urlencode"):
            data.append(next(rest))
        elif word == "-G":
            in_query = True
        else:
            assert not word.startswith("-"), f"{word} is not understood here"
            url = word
    if in_query:
        pairs = [tuple(each.split("=", 1)) for each in data]
        return httpx.get(url, headers=headers, params=dict(pairs), trust_env=False).text
    content = "&".join(data).encode() if data else None
    return httpx.request(method or "GET", url, headers=headers, content=content, trust_env=False).text


def seen(answer: Any, variables: dict[str, str]) -> None:
    """Take what later commands refer to from an answer."""
    if isinstance(answer, dict):
        adapter = answer.get("adapter") or next(iter(answer.get("items") or []), None)
        if isinstance(adapter, dict):
            variables["ID"] = adapter["id"]
        if answer.get("next_cursor"):
            variables["CURSOR"] = answer["next_cursor"]


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.usefixtures("nothing_active")
def test_examples_answer_what_the_page_says(page: str, world: World, service: Service, guarded: httpx.Client) -> None:
    """A client that follows the pages gets what they say."""
    with_keys = "$KEY" in (FOLDER / page).read_text(encoding="utf-8")
    client = guarded if with_keys else service.client
    if page == "generation.md":
        # A backend that nobody listens behind: what is queued waits.
        client = world.client("generating", library_roots=[world.library], sdnext_url="http://127.0.0.1:9")
    base = str(client.base_url).rstrip("/")
    variables = {"KEY": "reader-secret"}
    for example in examples(page):
        command = example.command.replace(BASE, base).replace(FILE, str(service.library / Path(FILE).name))
        if FILE in example.command and not (service.library / Path(FILE).name).exists():
            service.weight_file(Path(FILE).name)
        answer = run(command, variables)
        seen(answer, variables)
        if example.expected is None:
            assert answer is None or "status" not in answer or answer["status"] not in range(400, 600), (
                command,
                answer,
            )
        else:
            assert holds(answer, example.expected), (command, json.dumps(answer)[:2_000])
    if "Ink Dragon" in (FOLDER / page).read_text(encoding="utf-8"):
        for item in service.get("/adapters", q='"Ink Dragon"')["items"]:
            service.client.delete(f"/api/v1/adapters/{item['id']}")


def test_both_ways_to_run_a_command_agree(service: Service) -> None:
    """Where there is no curl, the same is asked."""
    base = str(service.client.base_url).rstrip("/")
    prompt = f"{base}/api/v1/recommendations/prompt"
    commands = (
        f'curl "{base}/api/v1/adapters?limit=1&sort=name"',
        f'curl -X POST -H "Content-Type: application/json" "{prompt}" -d \'{{"prompt": ""}}\'',
        f"curl -G \"{base}/api/v1/adapters\" -d 'limit=1' --data-urlencode 'q=a b&c'",
    )
    if not shutil.which("curl"):
        pytest.skip("there is no curl here to compare with")
    for command in commands:
        words = shlex.split(command)
        by_curl, by_httpx = json.loads(_curl(words)), json.loads(_httpx(words[1:]))
        assert by_curl.keys() == by_httpx.keys()
        assert by_curl.get("total") == by_httpx.get("total")
        assert by_curl.get("detail") == by_httpx.get("detail")


def test_every_page_is_listed() -> None:
    """The first page leads to every other."""
    first = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\]\((\w+\.md)\)", first)) == set(PAGES) - {"README.md"}
    for page in PAGES:
        for target in re.findall(r"\]\(([^)#:]+)\)", (FOLDER / page).read_text(encoding="utf-8")):
            assert (FOLDER / target).exists(), (page, target)
