"""Real commands: how the prompt reaches them, and that they end."""

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipelines.backends import cli
from pipelines.backends.cli import PLUGIN, CliBackend
from warehouse.backends import Outcome, ParamsError, check_params
from warehouse.jobs import ClaimedJob, JobStatus
from warehouse.models import utc_now
from warehouse.settings import Settings

SUCCEEDED, FAILED, CANCELLED = JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED
SHOW = "import sys, os, json; print(json.dumps([sys.argv[1:], sys.stdin.read(), dict(os.environ), os.getcwd()]))"


def _with(settings: Settings, *command: str, **fields: Any) -> Settings:
    return settings.model_copy(update={"cli_commands": {"it": list(command)}, **fields})


def _job(prompt: str, command: str) -> ClaimedJob:
    now = utc_now()
    return ClaimedJob(1, "an-id", "delivery", "cli", "cli", prompt, {"command": command}, 1, 2, 0.0, now, now)


def run(settings: Settings, prompt: str, command: str = "it", *, interrupt_when: Path | None = None) -> Outcome:
    """Run a command to its end, or until a file is there."""

    async def attempt() -> Outcome:
        submission = await CliBackend(settings).submit(_job(prompt, command))
        while interrupt_when is not None and not interrupt_when.exists():
            await asyncio.sleep(0.01)
        if interrupt_when is not None:
            await submission.interrupt()
        return await submission.result()

    return asyncio.run(attempt())


@pytest.mark.parametrize("prompt", ["a knight", "", "--help", "$(id) `id` ; rm -rf /\n'\"", "龙 🐉", "x" * 300_000])
def test_the_default_gives_the_prompt_back(settings: Settings, prompt: str) -> None:
    outcome = run(settings, prompt, "print")
    assert outcome.status is SUCCEEDED
    assert outcome.result is not None
    assert outcome.result["stdout"] == prompt[: cli.MAX_OUTPUT_BYTES]
    assert outcome.result["truncated"] == (len(prompt.encode()) > cli.MAX_OUTPUT_BYTES)


def test_the_prompt_is_one_argument_and_nothing_of_it_is_interpreted(settings: Settings) -> None:
    import json

    prompt = "a; b $(c) {prompt} {0} %s\n*"
    outcome = run(_with(settings, sys.executable, "-c", SHOW, "before", "--text={prompt}", "{prompt}"), prompt)
    assert outcome.result is not None
    arguments, given, environment, folder = json.loads(outcome.result["stdout"])
    assert arguments == ["before", f"--text={prompt}", prompt]
    assert given == ""
    assert set(environment) - {"LC_CTYPE"} == {"PATH", "HOME", "LANG", "TMPDIR", "LORA_MANAGER_DELIVERY_ID"}
    assert environment["LORA_MANAGER_DELIVERY_ID"] == "an-id"
    assert not Path(folder).exists()


def test_a_prompt_that_could_be_an_option_is_refused(settings: Settings) -> None:
    bare = _with(settings, "echo", "{prompt}")
    with pytest.raises(ParamsError, match="option"):
        check_params(PLUGIN, "-n x", {"command": "it"}, bare)
    assert run(bare, "-n x").status is FAILED
    for safe in (("echo", "--", "{prompt}"), ("echo", "text={prompt}"), ("cat",)):
        assert check_params(PLUGIN, "-n x", {"command": "it"}, _with(settings, *safe)) == {"command": "it"}
    assert run(_with(settings, "printf", "--", "{prompt}"), "-n x").result == {
        "command": "it",
        "exit_code": 0,
        "stdout": "-n x",
        "stderr": "",
        "truncated": False,
    }


def test_only_configured_commands_and_only_what_fits(settings: Settings) -> None:
    with pytest.raises(ParamsError, match="none of the commands: it, print"):
        check_params(PLUGIN, "p", {"command": "rm"}, _with(settings, "cat"))
    with pytest.raises(ParamsError, match="too long"):
        check_params(PLUGIN, "p" * 140_000, {"command": "it"}, _with(settings, "echo", "{prompt}"))
    with pytest.raises(ParamsError, match="Extra"):
        check_params(PLUGIN, "p", {"argv": ["rm"]}, settings)
    assert run(settings, "p", "gone").error == "the command 'gone' is not configured any more"
    assert "not installed" in (run(_with(settings, "no-such-program"), "p").error or "")


def test_failure_keeps_what_was_said(settings: Settings) -> None:
    outcome = run(_with(settings, "sh", "-c", "echo out; echo err >&2; exit 3"), "p")
    assert (outcome.status, outcome.error) == (FAILED, "the command ended with code 3")
    assert outcome.result is not None
    assert (outcome.result["exit_code"], outcome.result["stdout"], outcome.result["stderr"]) == (3, "out\n", "err\n")


def _children_gone(marker: str) -> bool:
    return not [each for each in psutil.process_iter(["cmdline"]) if marker in " ".join(each.info["cmdline"] or [])]


def _until_gone(marker: str) -> None:
    for _ in range(200):
        if _children_gone(marker):
            return
        time.sleep(0.02)
    pytest.fail(f"{marker} still runs")


def test_a_command_that_takes_too_long_is_ended_with_its_children(settings: Settings) -> None:
    script = "trap '' TERM; sleep 98.761 & sleep 98.761"
    outcome = run(_with(settings, "sh", "-c", script, cli_timeout_seconds=0.3), "p")
    assert outcome.status is FAILED
    assert "stopped after 0.3 s" in (outcome.error or "")
    _until_gone("98.761")


def test_a_child_that_stays_behind_does_not_hold_the_delivery(settings: Settings) -> None:
    outcome = run(_with(settings, "sh", "-c", "sleep 98.762 & echo done"), "p")
    assert outcome.status is SUCCEEDED
    assert outcome.result is not None
    assert outcome.result["stdout"] == "done\n"
    _until_gone("98.762")


def test_an_interrupt_ends_the_command(settings: Settings, tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    script = f"touch {begun}; sleep 98.763"
    outcome = run(_with(settings, "sh", "-c", script), "p", interrupt_when=begun)
    assert outcome.status is CANCELLED
    _until_gone("98.763")


def test_endless_output_is_dropped_and_not_kept(settings: Settings) -> None:
    outcome = run(_with(settings, "sh", "-c", "head -c 5000000 /dev/zero"), "p")
    assert outcome.status is SUCCEEDED
    assert outcome.result is not None
    assert outcome.result["stdout"] == "\ufffd" * cli.MAX_OUTPUT_BYTES


@pytest.mark.parametrize(
    ("commands", "words"),
    [({"it": []}, "no program"), ({"it": ["{prompt}"]}, "choose the program"), ({"a b": ["cat"]}, "no name")],
)
def test_commands_are_checked_with_the_settings(tmp_path: Path, commands: dict[str, list[str]], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Settings(_env_file=None, data_dir=tmp_path, cli_commands=commands)  # type: ignore[call-arg]


@pytest.mark.parametrize("hosts", ["box:80", "http://box", "a b", "[::1]"])
def test_allowed_hosts_are_checked_with_the_settings(tmp_path: Path, hosts: str) -> None:
    with pytest.raises(ValueError, match="no host"):
        Settings(_env_file=None, data_dir=tmp_path, http_allowed_hosts=hosts)  # type: ignore[call-arg, arg-type]
