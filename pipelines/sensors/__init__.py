"""The sensors, named `<what>_watch`; all run from the start. Each tick is cheap: no folder is walked, no file read.

What happens by the clock belongs to `schedules`.
"""

from pipelines.sensors.library import library_watch
from pipelines.sensors.lost_runs import lost_run_watch
from pipelines.sensors.outcomes import OUTCOME_WATCHES

ALL = [library_watch, lost_run_watch, *OUTCOME_WATCHES]
"""Every sensor of the code location."""
