"""The code location of the library: assembles assets, checks, jobs, sensors and schedules, and lays policies over them.

Nothing else belongs here. Importing it opens nothing and reads no setting, and pulls in no library that computes:
every run imports this module in a fresh process, where torch alone would cost ten seconds.
"""

import dagster as dg

from pipelines import assets, checks, schedules
from pipelines.jobs.backup import back_up
from pipelines.jobs.library import (
    evaluate_recommendations,
    learn_from_use,
    refresh_marts,
    refresh_vectors,
    sync_library,
    tune_encoder,
)
from pipelines.jobs.upkeep import prune_history
from pipelines.policies import apply_policies
from pipelines.resources import warehouse_resource
from pipelines.sensors.library import library_watch
from pipelines.sensors.lost_runs import lost_run_watch
from pipelines.sensors.outcomes import OUTCOME_WATCHES
from pipelines.sensors.use import use_watch


def build_definitions(warehouse: dg.ResourceDefinition | None = None) -> dg.Definitions:
    """The definitions, with another warehouse where a test or the command line wants one."""
    return dg.Definitions(
        assets=dg.map_asset_specs(apply_policies, assets.ALL),
        asset_checks=checks.ALL,
        jobs=[
            *(sync_library, refresh_vectors, refresh_marts, learn_from_use),
            *(tune_encoder, evaluate_recommendations, prune_history, back_up),
        ],
        sensors=[library_watch, use_watch, lost_run_watch, *OUTCOME_WATCHES],
        schedules=schedules.ALL,
        resources={"warehouse": warehouse or warehouse_resource()},
        executor=dg.in_process_executor,
    )


@dg.definitions
def definitions() -> dg.Definitions:
    """What Dagster loads."""
    return build_definitions()
