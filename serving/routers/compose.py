"""`/compose`: the prompt of the adapters in use, with advice on them."""

import logging
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from serving import composing, delivering, encoding, problems
from serving.composing import Composed, Ingredient, UnknownAdaptersError
from serving.delivering import Places
from serving.delivery_parameters import DeliveryError, delivery_parameters
from serving.deps import ActorDep, Services, ServicesDep
from serving.schemas.compose import ComposeAnswer, ComposeDelivery, ComposeQuestion
from warehouse.audit import Actor
from warehouse.jobs import JobStatus

router = APIRouter(prefix="/compose", tags=["compose"])

_DELIVERY = Places(mode=("body", "delivery", "mode"), prompt=("body", "prefix"), params=("body", "delivery"))
_LOGGED_IDS = 50
"""Adapters that a line of the log names."""

_log = logging.getLogger(__name__)


@router.post(
    "",
    summary="Compose a prompt",
    operation_id="compose_prompt",
    response_model=ComposeAnswer,
    responses=problems.documented(413, 422),
)
def compose_prompt(services: ServicesDep, actor: ActorDep, question: ComposeQuestion) -> Response:
    """Prefix, one token for each active adapter, and suffix, with one space between.

    Explicit ordinals come first, ascending, then names. Of several adapters of a name the one with the largest weight
    stays. What is probably not meant is a warning, never an error. `advice` says whether the adapters go together, what
    their licences allow together, and how strong they are. An id in `adapters` that does not exist is a 422.
    """
    delivery = _delivery(question.delivery)
    ingredients = None if question.adapters is None else [Ingredient(e.id, e.weight) for e in question.adapters]
    try:
        with services.database.read() as connection:
            composed = composing.compose(
                connection,
                prefix=question.prefix or "",
                suffix=question.suffix or "",
                include_triggers=question.include_triggers,
                ingredients=ingredients,
            )
    except UnknownAdaptersError as error:
        raise composing.unknown_adapters(("body", "adapters"), ingredients or [], error) from error
    answer = composing.content(composed)
    if delivery is not None:
        answer["delivery"] = _queue(services, actor, composed.composition.prompt, *delivery)
    _record(composed)
    return encoding.answer(answer)


def _delivery(asked: ComposeDelivery | None) -> tuple[str, dict[str, Any]] | None:
    if asked is None:
        return None
    try:
        return delivery_parameters(asked.model_dump())
    except DeliveryError as error:
        raise problems.invalid(("body", "delivery", *error.loc), str(error)) from error


def _queue(services: Services, actor: Actor, prompt: str, mode: str, params: dict[str, Any]) -> dict[str, str]:
    """Queue a prompt for delivery: `{"id", "status"}`."""
    job = delivering.prepare(mode, prompt, params, services.settings, places=_DELIVERY)
    with services.database.write() as connection:
        queued = delivering.put(connection, job, actor, places=_DELIVERY)
    services.runs.look_after(queued.lane)
    return {"id": queued.id, "status": JobStatus.PENDING.value}


def _record(composed: Composed) -> None:
    tokens = composed.composition.tokens
    _log.info(
        "composed a prompt",
        extra={
            "tokens": len(tokens),
            "adapter_ids": [token.member.id for token in tokens[:_LOGGED_IDS]],
            "warnings": len(composed.warnings),
        },
    )
