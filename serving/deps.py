"""What handlers need: one object of services per application, and the annotated dependencies that reach it.

Dependencies are coroutines although none waits: FastAPI would run a plain function in a thread, at 0.1 ms each.
"""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Path
from starlette.requests import HTTPConnection

from serving.backends import Backends
from serving.figures import Figures
from serving.live import Hub
from serving.orchestrator import Orchestrator
from serving.recommender import SharedRecommender
from serving.results import Results
from serving.runs import LaneRuns
from serving.schemas.adapters import ADAPTER_ID
from serving.signing import Signer
from warehouse.audit import Actor
from warehouse.engine import Database
from warehouse.pictures import PictureStore
from warehouse.settings import Settings


@dataclass(frozen=True, slots=True)
class Services:
    """What an application holds from start to stop."""

    settings: Settings
    database: Database
    signer: Signer
    recommender: SharedRecommender
    orchestrator: Orchestrator
    figures: Figures
    hub: Hub
    pictures: PictureStore
    results: Results
    runs: LaneRuns
    backends: Backends


async def _services(connection: HTTPConnection) -> Services:
    services: Services = connection.app.state.services
    return services


async def _actor(connection: HTTPConnection) -> Actor:
    state = connection.scope["state"]
    return Actor(key_name=state.get("key_name"), request_id=state["request_id"])


ServicesDep = Annotated[Services, Depends(_services)]
ActorDep = Annotated[Actor, Depends(_actor)]
AdapterId = Annotated[str, Path(description="The adapter's id.", examples=[ADAPTER_ID])]
IdempotencyKey = Annotated[
    str | None,
    Header(
        min_length=1,
        max_length=255,
        pattern=r"^[\x21-\x7e]+$",
        description="A name of the client's for this request: sent again with the same body, it gives the same answer "
        "and does it once.",
    ),
]
