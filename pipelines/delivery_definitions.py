"""The code location of the lanes: what delivers and generates, apart from what makes data.

Nothing else belongs here. A request on a cold lane waits while a fresh process imports this module, so it pulls in
neither what computes nor what reads tables for analysts, nor the assets of the library.
"""

import dagster as dg

from pipelines.jobs.runs import deliver, generate, lane_assets
from pipelines.resources import warehouse_resource
from pipelines.sensors.lanes import lane_watch


def build_delivery_definitions(warehouse: dg.ResourceDefinition | None = None) -> dg.Definitions:
    """The definitions, with another warehouse where a test wants one."""
    return dg.Definitions(
        assets=lane_assets(),
        jobs=[deliver, generate],
        sensors=[lane_watch],
        resources={"warehouse": warehouse or warehouse_resource()},
        executor=dg.in_process_executor,
    )


@dg.definitions
def definitions() -> dg.Definitions:
    """What Dagster loads."""
    return build_delivery_definitions()
