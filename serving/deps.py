"""What handlers need: one object of services per application, and the annotated dependencies that reach it.

Dependencies are coroutines although none waits: FastAPI would run a plain function in a thread, at 0.1 ms each.
"""

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Path
from starlette.requests import HTTPConnection

from serving.analysts import Analysts
from serving.answer_cache import AnswerCache
from serving.embedding import Embedder
from serving.figures import Figures
from serving.machine import Machine
from serving.metrics import Metrics
from serving.orchestrator import Orchestrator
from serving.recommender import SharedRecommender
from serving.runs import LaneRuns
from serving.schemas.adapters import ADAPTER_ID
from serving.signing import Signer
from warehouse.audit import Actor
from warehouse.engine import Database
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
    machine: Machine
    analysts: Analysts
    metrics: Metrics
    answers: AnswerCache
    embedder: Embedder
    runs: LaneRuns


async def _services(connection: HTTPConnection) -> Services:
    services: Services = connection.app.state.services
    return services


async def _actor(connection: HTTPConnection) -> Actor:
    state = connection.scope["state"]
    return Actor(key_name=state.get("key_name"), request_id=state["request_id"])


async def _address(connection: HTTPConnection) -> str | None:
    server = connection.scope.get("server")
    return str(server[0]) if server else None


ServicesDep = Annotated[Services, Depends(_services)]
ActorDep = Annotated[Actor, Depends(_actor)]
AddressDep = Annotated[str | None, Depends(_address)]
"""The address of this machine at which the request came in; None where it was no network address."""
AdapterId = Annotated[str, Path(description="The adapter's id.", examples=[ADAPTER_ID])]
