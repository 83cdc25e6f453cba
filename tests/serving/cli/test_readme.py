"""The README says what is true: every setting with its default, every command, every target."""

import json
import re
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from typer.main import get_command

from serving.cli.main import app
from warehouse.settings import Settings

ROOT = Path(__file__).parents[3]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DEVELOPMENT = (ROOT / "DEVELOPMENT.md").read_text(encoding="utf-8")


def _shown(default: Any) -> str:
    if default is None or default in ("", (), [], SecretStr("")):
        return ""
    if isinstance(default, bool | dict):
        return json.dumps(default)
    return str(default)


def test_every_setting_is_documented_with_its_default() -> None:
    rows = re.findall(r"^\| `LORA_MANAGER_(\w+)` \| (?:`([^`]*)`)? ?\|", README, re.MULTILINE)
    documented = {name.lower(): default for name, default in rows}
    fields = Settings.model_fields.items()
    actual = {name: _shown(field.get_default(call_default_factory=True)) for name, field in fields}
    assert documented == actual


def test_every_command_is_documented_with_options_it_has() -> None:
    commands = get_command(app).commands  # type: ignore[attr-defined]
    rows = dict(re.findall(r"^\| `lora-manager ([\w-]+)([^`]*)` \|", README, re.MULTILINE))
    assert set(rows) == set(commands)
    for name, usage in rows.items():
        options = {
            option for parameter in commands[name].params for option in (*parameter.opts, *parameter.secondary_opts)
        }
        assert set(re.findall(r"--[a-z-]+", usage)) <= options, name


def test_every_make_target_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"^make ([a-z-]+)|`make ([a-z-]+)", README + DEVELOPMENT, re.MULTILINE))
    assert {first or second for first, second in named} <= targets


def test_every_file_named_exists() -> None:
    for document in (README, DEVELOPMENT, (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")):
        for path in re.findall(r"`((?:warehouse|pipelines|serving|tests|docs|\.ci)/[\w/.-]+)`", document):
            assert (ROOT / path).exists(), path
