"""A program of ours under a clock that somebody sets: its hour is that of the system and so many seconds from a file.

    python -m tests.failures.clock FILE MODULE [ARGUMENT …]

Moves what our own code asks, in a real process and without a library to preload: the time of the day as `time.time`
and as `utc_now` tell it. Monotonic clocks go on, as they do when a clock is set.
"""

import datetime as calendar
import runpy
import sys
import time
from pathlib import Path


def set_clock(file: Path, seconds: float) -> None:
    """Set the clock of every program that reads the file, forward or back from the system's."""
    aside = file.with_suffix(".new")
    aside.write_text(str(seconds))
    aside.replace(file)


def main() -> None:
    """Run the program as if from the command line."""
    file, module = Path(sys.argv[1]), sys.argv[2]
    true_time = time.time

    def moved() -> float:
        return true_time() + float(file.read_text())

    class Moved(calendar.datetime):
        @classmethod
        def now(cls, tz: calendar.tzinfo | None = None) -> calendar.datetime:  # type: ignore[override]
            return calendar.datetime.fromtimestamp(moved(), tz)

    import warehouse.dialects
    import warehouse.models.base

    warehouse.models.base.datetime = Moved  # type: ignore[misc]
    warehouse.dialects.datetime = Moved  # type: ignore[misc]
    time.time = moved
    sys.argv[:] = [module, *sys.argv[3:]]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
