"""What handlers need: one object of services per application, and the annotated dependencies that reach it.

Dependencies are coroutines although none waits: FastAPI would run a plain function in a thread, at 0.1 ms each.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Header, Path
from starlette.requests import HTTPConnection

from serving import problems
from serving.analysts import Analysts
from serving.answer_cache import AnswerCache
from serving.backends import Backends
from serving.embedding import Embedder
from serving.figures import Figures
from serving.live import Hub, Room, Texts
from serving.machine import Machine
from serving.metrics import Metrics
from serving.orchestrator import Orchestrator
from serving.recommender import SharedRecommender
from serving.results import Results
from serving.runs import LaneRuns
from serving.schemas.adapters import ADAPTER_ID
from serving.signing import Signer
from warehouse.audit import Actor
from warehouse.engine import Database
from warehouse.lexical.searching import LexicalSearcher
from warehouse.pictures import PictureStore
from warehouse.settings import Settings


@dataclass(frozen=True, slots=True)
class Services:
    """What an application holds from start to stop."""

    settings: Settings
    database: Database
    signer: Signer
    recommender: SharedRecommender
    words: LexicalSearcher
    orchestrator: Orchestrator
    figures: Figures
    machine: Machine
    analysts: Analysts
    metrics: Metrics
    answers: AnswerCache
    embedder: Embedder
    hub: Hub
    texts: Texts
    room: Room
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


async def _address(connection: HTTPConnection) -> str | None:
    server = connection.scope.get("server")
    return str(server[0]) if server else None


async def each_once(connection: HTTPConnection) -> None:
    """For routes none of whose query parameters is a list: of one that is sent twice the last would count, unnoticed.

    Raises:
        Problem: 422.
    """
    counts = Counter(name for name, _ in connection.query_params.multi_items())
    for name, count in counts.items():
        if count > 1:
            raise problems.invalid(("query", name), f"is sent {count} times: send it once")


ServicesDep = Annotated[Services, Depends(_services)]
ActorDep = Annotated[Actor, Depends(_actor)]
AddressDep = Annotated[str | None, Depends(_address)]
"""The address of this machine at which the request came in; None where it was no network address."""
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
