"""The one `up` of a data folder: a lock while it lives, and a note of what it started for whoever comes after it.

After a kill -9 nobody stops the children, so the next `up` does, by the note; the lock, being the system's, is gone
with its holder.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from serving.cli.errors import CommandError, Exit
from serving.cli.processes import Identity, stop_groups
from warehouse.folders import held


@contextmanager
def not_restored(data_dir: Path) -> Iterator[None]:
    """Let nobody restore a backup to a data folder for the block: what is written then would be lost.

    Raises:
        CommandError: somebody does.
    """
    with held(data_dir, alone=False) as has_it:
        if not has_it:
            raise CommandError(f"a backup is being restored to {data_dir}: start again when it is done", Exit.TRY_AGAIN)
        yield


class RunFolder:
    """`data_dir/run`: the lock, the note, and the stamp of the last complete run of the pipeline."""

    def __init__(self, data_dir: Path) -> None:
        self.folder = data_dir / "run"
        self._note = self.folder / "up.json"
        self._stamp = self.folder / "pipeline.json"

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Be the one `up` of this data folder for the block.

        Raises:
            CommandError: another is running, or a backup is being restored.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / "up.lock").open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                # The note comes when the services start, hours after the lock where a large library is read first.
                holder = (self.folder / "up.lock").read_text().strip() or "?"
                raise CommandError(
                    f"already running on {self.folder.parent} (process {holder}): see "
                    f"{self.read().get('url', 'its terminal')}, or stop it first, or choose another --data"
                ) from None
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
            with not_restored(self.folder.parent):
                try:
                    self._end_leftovers()
                    yield
                finally:
                    self._note.unlink(missing_ok=True)

    def read(self) -> dict[str, Any]:
        """The note of the `up` that runs, or last ran until it was killed; empty without one."""
        return _read_json(self._note)

    def running(self) -> dict[str, Any]:
        """The note of the `up` that runs now; empty when none does."""
        try:
            with (self.folder / "up.lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return self.read()
        except OSError:
            return {}
        return {}

    def write(self, url: str, children: dict[str, Identity]) -> None:
        """Note who runs."""
        _write_json(
            self._note,
            {
                "pid": os.getpid(),
                "url": url,
                "children": {name: [child.pid, child.started] for name, child in children.items()},
            },
        )

    def _end_leftovers(self) -> None:
        children = [Identity(*child) for child in self.read().get("children", {}).values()]
        stop_groups([child.pid for child in children if child.is_alive()], patience=5)

    def stamp(self) -> dict[str, Any]:
        """What the pipeline last ran through on; empty if it never did."""
        return _read_json(self._stamp)

    def write_stamp(self, stamp: dict[str, Any]) -> None:
        """Remember what the pipeline ran through on."""
        _write_json(self._stamp, stamp)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError):
        # Torn by a crash or never written: both mean that nothing is known.
        return {}
    return content if isinstance(content, dict) else {}


def _write_json(path: Path, content: dict[str, Any]) -> None:
    aside = path.with_suffix(".tmp")
    aside.write_text(json.dumps(content), encoding="utf-8")
    aside.replace(path)
