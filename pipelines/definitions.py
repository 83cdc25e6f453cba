"""The code location: assembles assets, checks, jobs, sensors and schedules, and lays the policies over them.

Nothing else belongs here. Importing it opens nothing and reads no setting, and pulls in no library that computes:
every run imports this module in a fresh process, where torch alone would cost ten seconds.
"""

import dagster as dg

from pipelines import assets, checks, jobs, schedules, sensors
from pipelines.policies import apply_policies
from pipelines.resources import warehouse_resource


def build_definitions(warehouse: dg.ResourceDefinition | None = None) -> dg.Definitions:
    """The definitions, with another warehouse where a test or the command line wants one."""
    return dg.Definitions(
        assets=dg.map_asset_specs(apply_policies, assets.ALL),
        asset_checks=checks.ALL,
        jobs=[jobs.sync_library, jobs.refresh_vectors, jobs.refresh_marts, jobs.prune_history],
        sensors=sensors.ALL,
        schedules=schedules.ALL,
        resources={"warehouse": warehouse or warehouse_resource()},
        executor=dg.in_process_executor,
    )


@dg.definitions
def definitions() -> dg.Definitions:
    """What Dagster loads."""
    return build_definitions()
