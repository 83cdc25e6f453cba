"""The command as a whole: light, helpful, and never a traceback."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving.cli.conftest import Run

COMMANDS = (
    *(
        "up",
        "serve",
        "sync",
        "status",
        "similar",
        "recommend",
        "evaluate",
        "sql",
        "doctor",
        "keys",
        "sample",
        "upgrade",
    ),
    *("backup", "restore", "migrate-database"),
)


def test_help_names_every_command_in_one_untruncated_line(run: Run) -> None:
    shown = run("--help")
    assert shown.returncode == 0
    listed = shown.stdout.partition("Commands:")[2]
    assert [line.split()[0] for line in listed.splitlines() if line.strip()] == list(COMMANDS)
    assert "..." not in listed


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(run: Run, command: str) -> None:
    shown = run(command, "--help")
    assert (shown.returncode, shown.stderr) == (0, "")
    assert "Usage:" in shown.stdout


def test_help_loads_nothing_heavy() -> None:
    code = "import sys; import serving.cli.main; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"sqlalchemy", "pydantic", "fastapi", "dagster", "duckdb", "pyarrow", "numpy", "torch", "faiss", "httpx"}
    assert heavy.isdisjoint(loaded)


def test_help_costs_less_than_half_a_second_of_cpu() -> None:
    code = (
        "import sys, time, contextlib, io\n"
        "sys.argv = ['lora-manager', '--help']\n"
        "from serving.cli.main import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit): main()\n"
        "print(time.process_time())"
    )
    spent = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert float(spent) < 0.5


def test_version(run: Run) -> None:
    assert run("--version").stdout.startswith("lora-manager 0.")


@pytest.mark.parametrize(
    ("arguments", "environment", "code", "says"),
    [
        (("bogus",), {}, 2, "No such command 'bogus'"),
        (("status",), {}, 1, "lora-manager up"),
        (("sql", "SELECT 1"), {}, 1, "lora-manager up"),
        (("serve",), {}, 1, "lora-manager up"),
        (("sync", "/no/such/folder"), {}, 2, "/no/such/folder does not exist"),
        (("sync", "/dev/null"), {}, 2, "is not a folder"),
        (("up", "--library", "/no/such/folder"), {}, 2, "/no/such/folder does not exist"),
        (("up", "--host", "0.0.0.0"), {}, 2, "LORA_MANAGER_API_KEYS"),
        (("serve", "--host", "192.0.2.1"), {}, 2, "LORA_MANAGER_API_KEYS"),
        (("up", "--port", "8123", "--dagster-port", "8123"), {}, 2, "choose two"),
        (("status",), {"LORA_MANAGER_DEVICE": "abacus"}, 2, "LORA_MANAGER_DEVICE"),
        (("upgrade",), {"LORA_MANAGER_DATABASE_URL": "postgresql://x@127.0.0.1:1/x"}, 1, "database does not answer"),
        (("upgrade",), {"LORA_MANAGER_DATABASE_URL": "no url"}, 2, "LORA_MANAGER_DATABASE_URL"),
        (("upgrade",), {"LORA_MANAGER_DATABASE_URL": "mysql://x/y"}, 2, "LORA_MANAGER_DATABASE_URL"),
        (("upgrade",), {"LORA_MANAGER_DATA_DIR": "/proc/nowhere"}, 1, "/proc/nowhere"),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(
    run: Run, arguments: tuple[str, ...], environment: dict[str, str], code: int, says: str
) -> None:
    failed = run(*arguments, **environment)
    assert failed.returncode == code, failed
    assert says in failed.stderr
    assert failed.stdout == ""
    assert "Traceback" not in failed.stderr
    assert len([line for line in failed.stderr.splitlines() if line.lower().startswith("error")]) == 1


def test_debug_shows_the_traceback(run: Run) -> None:
    assert "Traceback" in run("--debug", "status").stderr


def test_a_secret_in_a_broken_setting_is_not_shown(run: Run) -> None:
    failed = run("status", LORA_MANAGER_API_KEYS="name:emperor:hunter2")
    assert failed.returncode == 2
    assert "LORA_MANAGER_API_KEYS" in failed.stderr
    assert "hunter2" not in failed.stderr


def test_a_password_in_the_database_url_is_not_shown(run: Run) -> None:
    failed = run("upgrade", LORA_MANAGER_DATABASE_URL="postgresql://ann:hunter2@127.0.0.1:1/x")
    assert "hunter2" not in failed.stderr + failed.stdout


def test_a_data_folder_that_cannot_be_made_is_one_line(run: Run, tmp_path: Path) -> None:
    (tmp_path / "library").mkdir()
    (tmp_path / "taken").write_text("a file")
    answer = run("sync", str(tmp_path / "library"), "--data", str(tmp_path / "taken" / "data"))
    assert answer.returncode == 1
    assert answer.stderr.startswith("error: Not a directory: ")
    assert answer.stderr.count("\n") == 1
