"""A process that works on the lane of deliveries, lets itself be relieved every second, and comes back as the heir.

    python -m tests.pipelines.jobs.relieved DATABASE_URL DATA_FOLDER

The hour after which a run has itself relieved is a second here (it looks at its age every five). Says that it is ready,
begins with a line of its input, ends when nothing is left to do, and prints one JSON object: how its runs ended, and
how many jobs it ended.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path

from pipelines.backends.http import PLUGIN
from pipelines.jobs.lanes import Ending, LaneRun, Limits
from warehouse.engine import connect
from warehouse.queries import jobs
from warehouse.settings import Settings


def main() -> None:
    """Work."""
    url, data_dir = sys.argv[1:]
    database = connect(url)
    settings = Settings(_env_file=None, data_dir=Path(data_dir), database_url=url)  # type: ignore[call-arg]
    limits = Limits(timedelta(seconds=2), max_age=timedelta(seconds=1))
    print("ready", flush=True)
    sys.stdin.readline()
    endings: Counter[str] = Counter()
    ended = 0
    while True:
        run = LaneRun(database, settings, PLUGIN, run_id=None, report=lambda _: None, limits=limits)
        ending = asyncio.run(run.run())
        endings[ending.value] += 1
        ended += sum(run.ended.values())
        with database.read() as connection:
            counts = jobs.counts_by_status(connection)
        if not counts["pending"] and not counts["running"]:
            break
        # Who was relieved lets the heir in.
        time.sleep(1.0 if ending is Ending.RELIEVED else 0.1)
    database.dispose()
    print(json.dumps({"endings": endings, "ended": ended}))


if __name__ == "__main__":
    main()
