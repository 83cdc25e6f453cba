"""`lora-manager keys`: a key is shown once, its digest is kept, and what is listed is no secret."""

import hashlib
from pathlib import Path

from serving.cli.keys import _Role
from tests.serving.cli.conftest import Run
from warehouse.settings import Role, Settings, keys_of_file


def test_a_new_key_goes_into_the_file_and_is_listed_without_itself(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("old:reader@2020-01-01:sha256:" + "a" * 64 + "\n")
    made = run(
        "keys", "--new", "ann", "--role", "editor", "--expires", "2100-12-31", LORA_MANAGER_API_KEYS_FILE=str(file)
    )
    assert made.returncode == 0, made.stderr
    [secret] = made.stdout.split()
    assert secret not in made.stderr
    assert secret not in file.read_text()
    assert keys_of_file(file)[1].digest == hashlib.sha256(secret.encode()).digest()
    shown = run("keys", LORA_MANAGER_API_KEYS_FILE=str(file))
    rows = [line.split("\t") for line in shown.stdout.splitlines()]
    assert [row[:4] for row in rows[1:]] == [
        ["old", "reader", "2020-01-01", "expired"],
        ["ann", "editor", "2100-12-31", "counts"],
    ]


def test_without_a_file_the_line_is_told(run: Run) -> None:
    made = run("keys", "--new", "ann")
    [line] = [line for line in made.stderr.splitlines() if line.startswith("ann:")]
    assert line == f"ann:reader:sha256:{hashlib.sha256(made.stdout.strip().encode()).hexdigest()}"
    assert Settings(_env_file=None, api_keys=line).api_keys[0].role is Role.READER


def test_a_last_day_that_has_passed_is_refused(run: Run) -> None:
    refused = run("keys", "--new", "ann", "--expires", "2020-01-01")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "2020-01-01 would never count" in refused.stderr


def test_a_name_that_is_none_is_refused(run: Run) -> None:
    assert run("keys", "--new", "a:b").returncode == 2


def test_another_signing_secret_is_made(run: Run, tmp_path: Path) -> None:
    first = run("keys", "--change-signing", "--data", str(tmp_path / "data"))
    assert first.returncode == 0, first.stderr
    secret = (tmp_path / "data" / "serving.secret").read_bytes()
    run("keys", "--change-signing", "--data", str(tmp_path / "data"))
    assert (tmp_path / "data" / "serving.secret").read_bytes()[32:] == secret[:32]


def test_the_roles_are_those_of_the_settings() -> None:
    assert [role.value for role in _Role] == [role.value for role in Role]


def test_a_key_that_its_file_does_not_get_is_not_shown(run: Run, tmp_path: Path) -> None:
    # Beside a name of this length nobody can make the new file, not even root.
    file = tmp_path / ("k" * 250)
    file.write_text("bob:reader:key-of-bob\n")
    refused = run("keys", "--new", "ann", LORA_MANAGER_API_KEYS_FILE=str(file))
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "no new key" in refused.stderr
    assert file.read_text() == "bob:reader:key-of-bob\n"
