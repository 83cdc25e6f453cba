"""One `up` per data folder, and what is left of one that was killed."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from serving.cli.errors import CommandError
from serving.cli.processes import Identity
from serving.cli.running import RunFolder, not_restored
from warehouse.folders import held


def test_a_second_one_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.running() == {}
    with folder.hold():
        # It reads the library: its services, and the note of them, come later.
        with pytest.raises(CommandError, match=rf"process {os.getpid()}.*its terminal"), folder.hold():
            pass
        folder.write("http://127.0.0.1:8000", {})
        assert folder.running()["pid"] == os.getpid()
        with pytest.raises(CommandError, match=rf"process {os.getpid()}.*http://127.0.0.1:8000"), folder.hold():
            pass
        assert folder.running(), "the note of the living one is left alone"
    assert folder.running() == {}
    with folder.hold():
        pass


def test_children_of_a_killed_one_are_ended_and_nobody_else(tmp_path: Path) -> None:
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    orphan = subprocess.Popen(sleep, process_group=0)
    stranger = subprocess.Popen(sleep, process_group=0)
    try:
        folder = RunFolder(tmp_path)
        folder.folder.mkdir()
        recycled = Identity(stranger.pid, "1" + Identity.of(stranger.pid).started)
        folder.write("http://127.0.0.1:8000", {"api": Identity.of(orphan.pid), "daemon": recycled})
        with folder.hold():
            assert orphan.wait(timeout=10) < 0
            assert stranger.poll() is None
    finally:
        for process in (orphan, stranger):
            process.kill()
            process.wait()


@pytest.mark.parametrize("torn", ["", "{", "[1]", '{"children": {}}'])
def test_a_torn_note_is_no_note(tmp_path: Path, torn: str) -> None:
    folder = RunFolder(tmp_path)
    folder.folder.mkdir()
    (folder.folder / "up.json").write_text(torn)
    with folder.hold():
        pass


def test_the_stamp_survives(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    assert folder.stamp() == {}
    with folder.hold():
        folder.write_stamp({"signature": "abc"})
    assert RunFolder(tmp_path).stamp() == {"signature": "abc"}
    assert json.loads((tmp_path / "run" / "pipeline.json").read_text()) == {"signature": "abc"}


def test_none_starts_while_a_backup_is_restored(tmp_path: Path) -> None:
    with held(tmp_path, alone=True) as has_it:
        assert has_it
        with pytest.raises(CommandError, match="being restored"), RunFolder(tmp_path).hold():
            pass
    # The API of an `up` is a process of its own.
    with RunFolder(tmp_path).hold(), not_restored(tmp_path), held(tmp_path, alone=True) as has_it:
        assert not has_it
