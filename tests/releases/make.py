"""Makes the fixture of a release: run it once, with the code of that release, and commit what it writes.

    python -m tests.releases.make [VERSION]

A sample library is made and synced by the command line as a user does it, used over the API, and packed with the data
folder. What it holds is the same each time; ids, times and the names of runs are not.
"""

import fcntl
import json
import os
import shutil
import struct
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path

import pytest

from tests.releases.using import use, users_state
from tests.serving.generating import studio
from warehouse.engine import connect
from warehouse.samples import generate_library
from warehouse.settings import Settings

HERE = Path(__file__).parent
PLACE = Path("/tmp/lora-manager-release")
"""Where the folders of a release are, on every machine."""
ADAPTERS = 10
MADE = 1_780_000_000
"""When the files of the library were last changed: a whole second, in seconds of the epoch."""
LARGEST = 300_000
_LEFT_OUT = {"models", "logs"}
"""Of the data folder: what is made again and large, and what nobody reads."""


@contextmanager
def place() -> Iterator[Path]:
    """The folder, empty, for this process alone; gone afterwards."""
    with PLACE.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.rmtree(PLACE, ignore_errors=True)
        PLACE.mkdir()
        try:
            yield PLACE
        finally:
            shutil.rmtree(PLACE)


def unpack(release: str, folder: Path) -> None:
    """The folders of a release, as it left them."""
    with tarfile.open(HERE / f"{release}.tar.xz") as tar:
        tar.extractall(folder, filter="data")


def _even_out(library: Path) -> None:
    """Weights of one value each, which take no room, with the headers they had; and times that an archive can keep."""
    for number, path in enumerate(sorted(library.rglob("*.safetensors")), start=1):
        data = path.read_bytes()
        start = 8 + struct.unpack("<Q", data[:8])[0]
        if start < len(data):
            path.write_bytes(data[:start] + bytes([number]) * (len(data) - start))
    for path in library.rglob("*"):
        os.utime(path, (MADE, MADE))


def _make(release: str) -> Path:
    with place() as folder:
        generate_library(folder / "library", adapters=ADAPTERS)
        _even_out(folder / "library")
        data = folder / "data"
        environment = {**os.environ, "LORA_MANAGER_DATA_DIR": str(data), "DAGSTER_DISABLE_TELEMETRY": "1"}
        command = [sys.executable, "-m", "serving.cli.main", "sync", str(folder / "library")]
        subprocess.run(command, check=True, env=environment, stdout=subprocess.DEVNULL)
        database = connect(f"sqlite:///{data / 'warehouse.sqlite3'}")
        with pytest.MonkeyPatch.context() as patch:

            def settings_for(_: object, **fields: object) -> Settings:
                return Settings(_env_file=None, data_dir=data, dagster_url="http://127.0.0.1:9", **fields)

            with studio(database, settings_for, patch) as (used, _):
                use(used)
                state = users_state(used.client)
        database.dispose()
        target = HERE / f"{release}.tar.xz"
        with tarfile.open(target, "w:xz", format=tarfile.PAX_FORMAT, preset=9) as tar:
            for path in sorted(path for path in folder.rglob("*") if path.is_file()):
                name = path.relative_to(folder)
                if not (name.parts[0] == "data" and name.parts[1] in _LEFT_OUT):
                    tar.add(path, str(name))
        (HERE / f"{release}.json").write_text(json.dumps(state, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return target


def main() -> None:
    """Make it and say how large it is."""
    target = _make(sys.argv[1] if len(sys.argv) > 1 else version("lora-manager-backend"))
    size = target.stat().st_size
    print(f"{target}: {size:,} bytes")
    if size > LARGEST:
        sys.exit(f"larger than {LARGEST:,} bytes: too large for the repository")


if __name__ == "__main__":
    main()
