"""The example of docs/backends.md: installed as a package beside ours, found, and run."""

import os
import subprocess
import sys
from pathlib import Path

EXAMPLE = Path(__file__).parents[3] / "examples" / "journal_backend"
SCRIPT = """
import asyncio, sys
from pathlib import Path
from tests.pipelines.backends.work import claimed, follow
from warehouse.backends import ParamsError, check_params, plugins
from warehouse.settings import Settings

settings = Settings(_env_file=None, data_dir=Path(sys.argv[1]))
plugin = plugins()["journal"]
for prompt, params in (("x", {"name": "../etc"}), ("x", {"other": 1}), (" ", {})):
    try:
        check_params(plugin, prompt, params, settings)
    except ParamsError:
        continue
    raise SystemExit(f"{params} was accepted")
params = check_params(plugin, "a knight", {"name": "knights", "seconds": 0.01}, settings)

async def run():
    backend = plugin.open(settings)
    done = await follow(backend, claimed("journal", "a knight\\na dragon", **params))
    stopped = await follow(backend, claimed("journal", "x\\n" * 99, **params), interrupt_at=10)
    await backend.close()
    return done, stopped

done, stopped = asyncio.run(run())
assert (done.outcome.status, done.result) == ("succeeded", {"lines": 2}), done
assert [progress.percent for progress in done.progress] == [50, 100]
assert stopped.outcome.status == "cancelled", stopped
assert (settings.data_dir / "journals" / "knights.txt").read_text().startswith("a knight\\na dragon\\nx\\n")
"""


def test_the_example_is_found_and_works(tmp_path: Path) -> None:
    # From a copy: building leaves folders beside the source.
    source = tmp_path / "source"
    source.mkdir()
    for file in EXAMPLE.iterdir():
        if file.is_file():
            (source / file.name).write_bytes(file.read_bytes())
    target = tmp_path / "installed"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--no-index"]
    subprocess.run([*pip, "--target", str(target), str(source)], check=True, capture_output=True)
    root = str(EXAMPLE.parents[1])
    answer = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "data")],
        capture_output=True,
        text=True,
        check=False,
        cwd=root,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(target), root))},
    )
    assert answer.returncode == 0, answer.stderr
