"""Each alert rings when it should and is quiet otherwise, by Prometheus' own tool where it is installed."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.platform.compose import ROOT

PROMTOOL = shutil.which("promtool")
RULES = ROOT / "docker" / "prometheus" / "rules.yml"
COURSES = (Path(__file__).parent / "alerts.yml").read_text(encoding="utf-8")


def test_every_alert_has_a_course_of_events_that_rings_it() -> None:
    alerts = re.findall(r"- alert: (\w+)", RULES.read_text(encoding="utf-8"))
    assert sorted(alerts) == sorted(re.findall(r'alertname="(\w+)"', COURSES))


@pytest.mark.skipif(PROMTOOL is None, reason="promtool is not installed: it comes with Prometheus")
def test_alerts_ring_in_time_and_not_before(tmp_path: Path) -> None:
    courses = tmp_path / "alerts.yml"
    courses.write_text(COURSES.replace("- RULES", f"- {RULES}"), encoding="utf-8")
    done = subprocess.run((str(PROMTOOL), "test", "rules", courses), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
