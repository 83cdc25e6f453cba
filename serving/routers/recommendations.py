"""`/recommendations`: what is similar, what fits a prompt, computing vectors, and how far the library is embedded."""

import dataclasses
from http import HTTPStatus
from typing import Annotated, Any

import msgspec
from anyio import to_thread
from fastapi import APIRouter, Depends, Query
from fastapi.responses import Response

from serving import encoding, learning, problems, recommending
from serving.answer_cache import Question
from serving.deps import ActorDep, AdapterId, Services, ServicesDep, each_once
from serving.embedding import IN_CALL
from serving.learning import Learned
from serving.orchestrator import LaunchError
from serving.recommending import Answer, TargetGoneError, Wish
from serving.routers.adapters import known_id
from serving.schemas.recommendations import (
    PERSONAL,
    BatchQuestion,
    ComputeQuestion,
    EmbeddingBatch,
    EmbeddingComputed,
    EmbeddingStatus,
    PromptAnswer,
    PromptQuestion,
    RecommendationStats,
    SimilarAnswer,
    Weights,
)
from warehouse import facets
from warehouse.queries import adapters, embeddings
from warehouse.queries.filters import storable
from warehouse.vectors.filters import SearchFilter
from warehouse.vectors.spaces import SpaceName, default_weights, prompt_weights

router = APIRouter(prefix="/recommendations", tags=["recommendations"])

_DIVERSE = 0.3
"""What `diversify_results=true` means."""
_MOST = 1000
"""The largest weight: beyond it the other spaces are lost in rounding anyway."""


def _pk_of(services: Services, adapter_id: str) -> int:
    with services.database.read() as connection:
        pk = adapters.pk_of(connection, known_id(adapter_id))
    if pk is None:
        raise problems.not_found("adapter", adapter_id)
    return pk


def _status_of(services: Services, adapter_id: str) -> embeddings.EmbeddingStatus:
    pk = _pk_of(services, adapter_id)
    with services.database.read() as connection:
        return embeddings.status(connection, pk)


def _checked(weights: dict[SpaceName, float], loc: tuple[str, ...]) -> dict[SpaceName, float]:
    if not all(0 <= weight <= _MOST for weight in weights.values()):
        raise problems.invalid(loc, f"every weight is a number from 0 to {_MOST}")
    if not any(weight > 0 for weight in weights.values()):
        raise problems.invalid(loc, "at least one weight must be above 0")
    return weights


def parse_weights(text: str | None, single: dict[str, float | None]) -> dict[SpaceName, float]:
    """The weights of a question.

    Args:
        text: a JSON object of weights by space; a space that it does not name does not count.
        single: weights given one by one; a space without one keeps its default.

    Raises:
        Problem: 422.
    """
    if text:
        loc = ("query", "weights")
        try:
            given = msgspec.json.decode(text, type=dict[SpaceName, float])
        except msgspec.DecodeError as error:
            raise problems.invalid(
                loc, 'is a JSON object like {"semantic": 0.6, "artistic": 0.3, "technical": 0.1}'
            ) from error
        return _checked({space: given.get(space, 0.0) for space in SpaceName}, loc)
    defaults = default_weights()
    chosen = {space: single.get(space) for space in SpaceName}
    return _checked(
        {space: defaults[space] if weight is None else weight for space, weight in chosen.items()},
        ("query", "weight_semantic"),
    )


def _answered(services: Services, answer: Answer, wish: Wish, learned: Learned) -> dict[str, Any]:
    return {
        "recommendations": recommending.signed(answer.items, services.signer),
        "total_candidates": answer.searched,
        "processing_time": answer.seconds,
        "processing_time_ms": answer.seconds * 1000,
        "recommendation_config": {
            "weights": wish.weights,
            "similarity_threshold": wish.threshold,
            "limit": wish.limit,
            "diversity": wish.diversity,
            "fold": wish.fold,
            "personal": learned.profile is not None,
            "index_generation": answer.generation,
        },
        "generated_at": answer.at,
        "cached": answer.cached,
    }


Weight = Annotated[float | None, Query(ge=0, le=_MOST, allow_inf_nan=False, description="Weight of this space.")]


@router.get(
    "/similar/{adapter_id}",
    summary="Find what is similar to an adapter",
    operation_id="find_similar",
    response_model=SimilarAnswer,
    responses=problems.documented(404, 422, 503),
    dependencies=[Depends(each_once)],
)
def find_similar(
    services: ServicesDep,
    actor: ActorDep,
    adapter_id: AdapterId,
    *,
    limit: Annotated[int, Query(ge=1, le=100, description="Recommendations at most.")] = 10,
    similarity_threshold: Annotated[
        float, Query(ge=0, le=1, allow_inf_nan=False, description="Least `similarity_score`.")
    ] = 0.1,
    weights: Annotated[
        str | None,
        Query(
            max_length=500,
            description="A JSON object of weights by space; a space that it does not name does not count.",
            examples=['{"semantic": 0.6, "artistic": 0.3, "technical": 0.1}'],
        ),
    ] = None,
    weight_semantic: Weight = None,
    weight_artistic: Weight = None,
    weight_technical: Weight = None,
    base_model: Annotated[str | None, Query(max_length=200, description="As the adapters spell it.")] = None,
    nsfw_max: Annotated[
        int | None, Query(ge=0, le=63, description="Highest level to include: 1 PG, 2 PG-13, 4 R, 8 X, 16 XXX.")
    ] = None,
    diversity: Annotated[
        float | None,
        Query(ge=0, le=1, allow_inf_nan=False, description="0 ranks by score alone, 1 avoids the like."),
    ] = None,
    diversify_results: Annotated[bool, Query(description=f"The same as `diversity={_DIVERSE}`.")] = False,
    available_only: Annotated[bool, Query(description="Leave out adapters whose weight file is not here.")] = False,
    fold: Annotated[bool, Query(description="Show versions and near-duplicates as one entry.")] = False,
    personal: Annotated[bool, Query(description=PERSONAL)] = True,
    include_explanations: Annotated[bool, Query(description="Say why each is in the list.")] = True,
) -> Response:
    """The nearest adapters over three spaces at any weighting, ordered by `final_score`, with every score shown.

    The adapter itself is never in the list. Adapters whose file is elsewhere or missing are, marked by `file_state`.
    """
    single = {"semantic": weight_semantic, "artistic": weight_artistic, "technical": weight_technical}
    wish = Wish(
        limit=limit,
        threshold=similarity_threshold,
        weights=parse_weights(weights, single),
        narrowed=_search_filter(base_model, nsfw_max, available_only=available_only),
        diversity=(_DIVERSE if diversify_results else 0.0) if diversity is None else diversity,
        fold=fold,
        explained=include_explanations,
    )
    pk = _pk_of(services, adapter_id)
    recommender = services.recommender.get()
    with services.database.read() as connection:
        learned = learning.about(
            connection, services.settings, adapter_pk=pk, key_name=actor.key_name, personal=personal
        )
    try:
        answer = services.answers.ask(
            Question(wish, adapter_pk=pk, learned=learned),
            lambda: recommending.similar(services.database, recommender, pk, wish, learned),
        )
    except TargetGoneError as error:
        raise problems.not_found("adapter", adapter_id) from error
    return encoding.answer(_answered(services, answer, wish, learned))


def _search_filter(base_model: str | None, nsfw_max: int | None, *, available_only: bool) -> SearchFilter:
    return SearchFilter(storable(base_model) if base_model else None, nsfw_max, available_only)


def _weights_of(weights: Weights | None) -> dict[SpaceName, float]:
    if weights is None:
        return dict(prompt_weights())
    return {space: float(getattr(weights, space)) for space in SpaceName}


@router.post(
    "/prompt",
    summary="Find what fits a prompt",
    operation_id="recommend_for_prompt",
    response_model=PromptAnswer,
    responses=problems.documented(413, 422, 503),
)
def recommend_for_prompt(services: ServicesDep, actor: ActorDep, question: PromptQuestion) -> Response:
    """Adapters for a prompt: by meaning, and by the trigger words, tags and names that occur in it.

    LoRA tags, weights and the negative prompt are understood and set aside; `prompt_analysis` says what was found.
    """
    if not question.prompt.strip():
        raise problems.invalid(("body", "prompt"), "is empty: say what the picture shall show")
    wish = Wish(
        limit=question.limit,
        threshold=question.similarity_threshold,
        weights=_weights_of(question.weights),
        narrowed=_search_filter(question.base_model, question.nsfw_max, available_only=question.available_only),
        diversity=question.diversity,
        fold=question.fold,
    )
    recommender = services.recommender.get()
    with services.database.read() as connection:
        learned = learning.about(connection, services.settings, key_name=actor.key_name, personal=question.personal)
    answer = services.answers.ask(
        Question(wish, prompt=question.prompt, learned=learned),
        lambda: recommending.for_prompt(services.database, recommender, services.words, question.prompt, wish, learned),
    )
    return encoding.answer({**_answered(services, answer, wish, learned), "prompt_analysis": answer.analysis})


@router.post(
    "/embeddings/compute",
    summary="Compute the vectors of an adapter",
    operation_id="compute_embeddings",
    response_model=EmbeddingComputed,
    responses=problems.documented(404, 413, 422),
)
async def compute_embeddings(services: ServicesDep, actor: ActorDep, question: ComputeQuestion) -> Response:
    """Vectors that are absent or out of date are computed now, all of them with `force_recompute`; `similar` finds the
    adapter at once. Where no vector can be made the status is `failed`, with the reason.
    """
    adapter_id = known_id(question.lora_id)
    await to_thread.run_sync(_pk_of, services, adapter_id)
    outcome = await services.embedder.compute([adapter_id], force=question.force_recompute, request_id=actor.request_id)
    if adapter_id in outcome.gone:
        raise problems.not_found("adapter", adapter_id)
    found = await to_thread.run_sync(_status_of, services, adapter_id)
    error = outcome.failures.get(adapter_id)
    return encoding.answer(
        {
            "lora_id": adapter_id,
            "status": "failed" if error else "completed",
            "embedding_stats": {
                "computed": outcome.computed > 0,
                "embedding_count": len(found.spaces),
                "last_computed": found.last_computed,
                "quality_score": found.quality_score,
                "spaces": found.spaces,
                "processing_time": outcome.seconds,
                "error": error,
            },
        }
    )


@router.post(
    "/embeddings/batch",
    status_code=HTTPStatus.ACCEPTED,
    summary="Compute the vectors of many adapters",
    operation_id="compute_embeddings_of_many",
    response_model=EmbeddingBatch,
    responses=problems.documented(413, 422, 503),
)
async def compute_embeddings_of_many(services: ServicesDep, actor: ActorDep, question: BatchQuestion) -> Response:
    """Up to 32 adapters that are due are computed inside the call; more become a run of Dagster, whose id is answered,
    and the counts say what is done so far. An id counts once, however often it is sent.
    """
    adapter_ids = list(dict.fromkeys(adapter_id.lower() for adapter_id in question.lora_ids))
    try:
        outcome = await services.embedder.compute(
            adapter_ids, force=question.force_recompute, request_id=actor.request_id
        )
    except LaunchError as error:
        raise problems.Problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            f"{error}. Nothing was computed in this call: more than {IN_CALL} adapters are due, which takes a run of "
            "Dagster; fewer at a time are computed without",
            kind="dagster-not-ready",
            title="Dagster not ready",
            headers={"Retry-After": "10"},
        ) from error
    return encoding.answer(
        {
            "processed_count": outcome.computed,
            "skipped_count": outcome.current,
            "failed_count": len(outcome.failures),
            "processing_time": outcome.seconds,
            "queued_count": outcome.queued,
            "run_id": outcome.run_id,
            "note": outcome.note,
            "failures": [{"lora_id": key, "reason": reason} for key, reason in outcome.failures.items()],
        },
        HTTPStatus.ACCEPTED,
    )


@router.get(
    "/embeddings/{adapter_id}/status",
    summary="Say whether an adapter has vectors",
    operation_id="get_embedding_status",
    response_model=EmbeddingStatus,
    responses=problems.documented(404),
)
def get_embedding_status(services: ServicesDep, adapter_id: AdapterId) -> Response:
    """The vectors of an adapter: how many, of which models, from when."""
    found = _status_of(services, adapter_id)
    return encoding.answer(
        {
            "lora_id": known_id(adapter_id),
            "has_embeddings": bool(found.spaces),
            "embedding_count": len(found.spaces),
            "last_computed": found.last_computed,
            "quality_score": found.quality_score,
            "spaces": found.spaces,
        }
    )


@router.get(
    "/stats",
    summary="Say how far the library is embedded, and on what",
    operation_id="get_recommendation_stats",
    response_model=RecommendationStats,
    responses=problems.documented(),
)
def get_stats(services: ServicesDep) -> Response:
    """Coverage of this moment, the devices of this machine, the published index, and how often kept answers served."""
    with services.database.read() as connection:
        total = facets.count_of(connection)
        by_space = embeddings.coverage(connection)
    embedded = max(by_space.values(), default=0)
    state = services.recommender.state()
    devices = [dataclasses.asdict(device) for device in services.machine.devices()]
    gpus = [device for device in devices if device["kind"] != "cpu"]
    manifest = state.published.manifest if state.published else {}
    return encoding.answer(
        {
            "total_loras": total,
            "loras_with_embeddings": embedded,
            "embedding_coverage": min(1.0, embedded / total) if total else 0.0,
            "embeddings_by_space": by_space,
            "gpu_available": any(device["usable"] for device in gpus),
            "gpu_details": gpus,
            "devices": devices,
            "index": {
                "status": state.status,
                "detail": state.detail,
                "generation": state.published.name if state.published else None,
                "adapters": manifest.get("n"),
                "recall": min(manifest["recall"].values(), default=None) if manifest.get("recall") else None,
                "published_at": state.published.created_at if state.published else None,
            },
            "cache": dataclasses.asdict(services.answers.figures()),
        }
    )
