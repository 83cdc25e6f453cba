"""The command line of the modules that learn what comes with the package from a library: which one, and where to.

Does not belong here: the learning, and the commands of users (`serving.cli`).
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from warehouse.engine import Database, open_database
from warehouse.settings import Settings

Learned = TypeVar("Learned")


def learn_and_write(
    module: str,
    said: str | None,
    shipped: Path,
    learn: Callable[[Database, Settings], Learned],
    write: Callable[[Learned, Path], None],
) -> None:
    """Learn from the library that the command names, and write to the file that it names, else to `shipped`.

    Args:
        module: as `python -m` is told.
        said: what the help says of it.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=said)
    parser.add_argument("--data", type=Path, required=True, help="a data folder with a library that was synced")
    parser.add_argument("--output", type=Path, default=shipped, help="where to write [default: in the package]")
    options = parser.parse_args()
    settings = Settings(data_dir=options.data)
    write(learn(open_database(settings), settings), options.output)
