"""The Dockerfile: no finding of its linter, every target ends as an ordinary user, and what it copies is let in."""

import re
import subprocess

import pytest

from tests.platform.compose import ROOT, tool

TEXT = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ")
STAGES = {
    found[2]: found[3]
    for found in re.finditer(r"^FROM (\S+) AS (\S+)\n(.*?)(?=^FROM |\Z)", TEXT, re.MULTILINE | re.DOTALL)
}


def test_the_linter_finds_nothing() -> None:
    done = subprocess.run((tool("hadolint"), ROOT / "Dockerfile"), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("target", ["cpu", "cuda", "rocm"])
def test_a_target_ends_as_an_ordinary_user(target: str) -> None:
    assert STAGES[target].strip().splitlines()[-1] == "USER 10001"
    assert f"requirements-{target}" in STAGES
    assert "useradd --uid 10001" in STAGES["runtime"]


def test_the_smallest_target_is_the_default() -> None:
    assert list(STAGES)[-1] == "cpu"


def test_sources_come_after_requirements_and_are_let_in() -> None:
    let_in = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = {
        source
        for stage in STAGES.values()
        for arguments in re.findall(r"^COPY (?!--from)(.*)$", stage, re.MULTILINE)
        for source in arguments.split()[:-1]
    }
    assert copied == set(let_in)
    for source in copied:
        assert (ROOT / source).exists(), source
    assert not {"warehouse", "pipelines", "serving"} & set(re.findall(r"COPY (.*)", STAGES["requirements"])[0].split())
