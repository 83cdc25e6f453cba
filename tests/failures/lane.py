"""The run of the lane `http`, as Dagster starts one, in a process of its own; without Dagster, which it does not need.

python -m tests.failures.lane LINGER_SECONDS
"""

import asyncio
import logging
import signal
from datetime import timedelta

from pipelines.jobs.lanes import LaneRun, Limits
from warehouse.backends import plugins
from warehouse.engine import open_database
from warehouse.settings import get_settings


def main() -> None:
    """Work until it is asked to stop."""
    logging.basicConfig(level=logging.WARNING)
    settings = get_settings()
    limits = Limits(timedelta(hours=1))
    run = LaneRun(
        open_database(settings), settings, plugins()["http"], run_id=None, report=lambda _: None, limits=limits
    )
    signal.signal(signal.SIGTERM, lambda *_: run.stop())
    print(asyncio.run(run.run()).value)


if __name__ == "__main__":
    main()
