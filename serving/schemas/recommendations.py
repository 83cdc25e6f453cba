"""Questions and answers of the recommender."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from serving.schemas.adapters import ADAPTER_ID
from serving.schemas.strengths import STRENGTH_EXAMPLE, Strength

PERSONAL = "Let what the holder of the key uses raise what is like it; false: as for somebody of whom nothing is known."

_ITEM: dict[str, Any] = {
    "lora_id": ADAPTER_ID,
    "lora_name": "Ink Dragon",
    "lora_description": "Dragons in flowing ink.",
    "similarity_score": 0.71,
    "relevance_score": None,
    "final_score": 0.76,
    "explanation": "Similar in how it looks (0.80) and what it is (0.74); shares the tags dragon, ink; used together 7 "
    "times.",
    "semantic_similarity": 0.74,
    "artistic_similarity": 0.8,
    "technical_similarity": 0.6,
    "lexical_boost": 0.08,
    "quality_boost": 0.04,
    "popularity_boost": 0.03,
    "used_together_boost": 0.034,
    "preference_boost": 0.0,
    "shared": {
        "tags": ["dragon", "ink"],
        "triggers": [],
        "name_words": [],
        "base_model": "SDXL 1.0",
        "author": None,
        "archetype": "style",
        "used_together": 7,
        "example_phrases": [],
    },
    "version": "v1.0",
    "author_username": "brushwork",
    "base_model": "SDXL 1.0",
    "archetype": "style",
    "triggers": ["inkdragon"],
    "file_state": "present",
    "preview_url": None,
    "folded": [],
    "in_prompt": False,
    "strength": STRENGTH_EXAMPLE,
}


_ANSWER: dict[str, Any] = {
    "recommendations": [_ITEM],
    "total_candidates": 5000,
    "cached": False,
    "processing_time": 0.0061,
    "processing_time_ms": 6.1,
    "recommendation_config": {
        "weights": {"semantic": 0.6, "artistic": 0.3, "technical": 0.1},
        "similarity_threshold": 0.1,
        "limit": 10,
        "diversity": 0.0,
        "fold": False,
        "personal": False,
        "index_generation": "20260101T080000-ab12cd34",
    },
    "generated_at": "2026-01-01T08:00:00Z",
}


class Weights(BaseModel):
    """How much each space counts; only their proportions matter. A space that is not named does not count."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={"examples": [{"semantic": 0.6, "artistic": 0.3, "technical": 0.1}]},
    )

    semantic: float = Field(0.0, ge=0, le=1000, allow_inf_nan=False)
    artistic: float = Field(0.0, ge=0, le=1000, allow_inf_nan=False)
    technical: float = Field(0.0, ge=0, le=1000, allow_inf_nan=False)

    @model_validator(mode="after")
    def _some_weight(self) -> "Weights":
        if self.semantic + self.artistic + self.technical <= 0:
            raise ValueError("at least one weight must be above 0")
        return self


class PromptQuestion(BaseModel):
    """A prompt to find adapters for."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        json_schema_extra={
            "examples": [
                {"prompt": "a (dragon:1.2) over a misty valley, ink wash, <lora:Paper Texture:0.6>", "limit": 5}
            ]
        },
    )

    prompt: str = Field(
        max_length=20_000,
        json_schema_extra={"pattern": r"\S"},
        description="As it would be sent to a generator; LoRA tags are understood.",
    )
    limit: int = Field(10, ge=1, le=100)
    similarity_threshold: float = Field(0.1, ge=0, le=1, description="Applies to `similarity_score`.")
    weights: Weights | None = None
    base_model: str | None = Field(None, max_length=200)
    nsfw_max: int | None = Field(None, ge=0, le=63, description="Highest level of Civitai's bit mask to include.")
    diversity: float = Field(0.0, ge=0, le=1, description="0 ranks by score alone, 1 avoids the like as far as it can.")
    available_only: bool = Field(False, description="Leave out adapters whose weight file is not here.")
    fold: bool = Field(False, description="Show versions and near-duplicates as one entry.")
    personal: bool = Field(True, description=PERSONAL)


class Shared(BaseModel):
    """What the item and the question have in common."""

    tags: list[str]
    triggers: list[str]
    name_words: list[str]
    base_model: str | None
    author: str | None
    archetype: str | None
    used_together: int | None = Field(
        description="How many prompts that were delivered or generated had both; null where none is known to, and for "
        "a prompt."
    )
    example_phrases: list[str] = Field(
        description="Parts of the prompt that stand in prompts of the adapter's example images and in few others, the "
        "rarest first; four at most."
    )


class Recommendation(BaseModel):
    """A recommended adapter with every score that ranked it."""

    model_config = ConfigDict(json_schema_extra={"examples": [_ITEM]})

    lora_id: str
    lora_name: str
    lora_description: str | None = Field(description="Plain text, shortened.")
    similarity_score: float = Field(description="Σ w·s / Σ w over the three spaces, 0..1.")
    relevance_score: float | None = Field(
        description="How well it fits the prompt by all that similarity, words, other adapters of its author and the "
        "number of its example prompts say together, 0..1, never less than the similarity: learned trees put the best "
        "candidates in order. Null where they are not asked: for similar adapters, with weights of one's own, other "
        "models, and small libraries."
    )
    final_score: float = Field(
        description="1 − (1 − evidence)(1 − quality)(1 − popularity)(1 − used together)(1 − preference), with the "
        "relevance as the evidence, or where that is null 1 − (1 − similarity)(1 − lexical): similarity <= final <= 1."
    )
    explanation: str | None = Field(description="Why it is in the list; null where explanations were not asked for.")
    semantic_similarity: float
    artistic_similarity: float
    technical_similarity: float
    lexical_boost: float = Field(description="Words in common, weighted by their rarity; 0..1.")
    quality_boost: float = Field(description="How much is known of the adapter; 0..0.05.")
    popularity_boost: float = Field(description="Downloads, on a logarithmic scale; 0..0.05.")
    used_together_boost: float = Field(
        description="How often it was used together with the adapter that was asked about, on a logarithmic scale; "
        "0..0.05."
    )
    preference_boost: float = Field(
        description="How much it is like what the holder of the key uses: tags, author, archetype, base model; "
        "0..0.05, 0 where nothing is known."
    )
    shared: Shared
    version: str | None
    author_username: str | None
    base_model: str | None
    archetype: str | None
    triggers: list[str]
    file_state: str
    preview_url: str | None
    in_prompt: bool = Field(description="Whether a LoRA tag of the prompt names it.")
    folded: list[str] = Field(
        description="With `fold`: ids of the versions and near-duplicates that this entry stands for."
    )
    strength: Strength | None = Field(description="Which weight to use it with; null where nothing tells.")


class RecommendationConfig(BaseModel):
    """What the answer was computed with."""

    weights: Weights
    similarity_threshold: float
    limit: int
    diversity: float
    fold: bool
    personal: bool = Field(description="Whether what the holder of the key prefers was known and counted.")
    index_generation: str | None


class SimilarAnswer(BaseModel):
    """What is similar to an adapter."""

    model_config = ConfigDict(json_schema_extra={"examples": [_ANSWER]})

    recommendations: list[Recommendation]
    total_candidates: int = Field(description="Adapters that were scored.")
    processing_time: float = Field(description="Seconds.")
    processing_time_ms: float
    recommendation_config: RecommendationConfig
    generated_at: datetime = Field(description="When it was computed.")
    cached: bool = Field(description="Whether it was kept from an earlier question; nothing changed since.")


class PromptLora(BaseModel):
    """A LoRA tag of the prompt."""

    kind: str = Field(description="lora, lyco or hypernet.")
    name: str
    weight: float | None
    lora_id: str | None = Field(description="The adapter of this library that has the name.")
    strength: Strength | None = Field(description="Which weight to use that adapter with; null where nothing tells.")


class Concept(BaseModel):
    """Words of the prompt that this library knows."""

    concept: str
    kind: str = Field(description="`tag`, or `trigger` where they are trigger words of a recommended adapter.")
    count: int = Field(description="How many adapters have it.")


class Suggestion(BaseModel):
    """What could be added to the prompt."""

    text: str
    reason: str
    lora_id: str | None
    strength: Strength | None = Field(description="Which weight to use that adapter with; null where nothing tells.")


class PromptAnalysis(BaseModel):
    """What the prompt says."""

    text: str = Field(description="The prompt in plain words: what was searched for.")
    negative: str = Field(description="What follows `Negative prompt:`; set aside.")
    lora_tags: list[PromptLora]
    concepts: list[Concept]
    suggested_additions: list[Suggestion]


class PromptAnswer(BaseModel):
    """What fits a prompt."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    **_ANSWER,
                    "prompt_analysis": {
                        "text": "a dragon over a misty valley, ink wash",
                        "negative": "",
                        "lora_tags": [
                            {"kind": "lora", "name": "Paper Texture", "weight": 0.6, "lora_id": None, "strength": None}
                        ],
                        "concepts": [{"concept": "dragon", "kind": "tag", "count": 7}],
                        "suggested_additions": [
                            {
                                "text": "inkdragon",
                                "reason": "trigger word of Ink Dragon",
                                "lora_id": ADAPTER_ID,
                                "strength": STRENGTH_EXAMPLE,
                            }
                        ],
                    },
                }
            ]
        }
    )

    recommendations: list[Recommendation]
    prompt_analysis: PromptAnalysis
    total_candidates: int = Field(description="Adapters that were scored.")
    processing_time: float = Field(description="Seconds.")
    processing_time_ms: float
    recommendation_config: RecommendationConfig
    generated_at: datetime = Field(description="When it was computed.")
    cached: bool = Field(description="Whether it was kept from an earlier question; nothing changed since.")


class EmbeddingStatus(BaseModel):
    """Whether an adapter has vectors."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "lora_id": ADAPTER_ID,
                    "has_embeddings": True,
                    "embedding_count": 3,
                    "last_computed": "2026-01-01T08:00:00Z",
                    "quality_score": 0.82,
                    "spaces": {"semantic": "all-MiniLM-L6-v2"},
                }
            ]
        }
    )

    lora_id: str
    has_embeddings: bool
    embedding_count: int
    last_computed: datetime | None
    quality_score: float | None
    spaces: dict[str, str] = Field(description="Space to model.")


class ComputeQuestion(BaseModel):
    """The adapter whose vectors are wanted."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"lora_id": ADAPTER_ID}]})

    lora_id: str = Field(max_length=200)
    force_recompute: bool = Field(False, strict=True, description="Compute also what is current.")


class EmbeddingDetails(BaseModel):
    """The vectors of an adapter after computing."""

    computed: bool = Field(description="Whether any was written; false also where all were current.")
    embedding_count: int
    last_computed: datetime | None
    quality_score: float | None = Field(description="How much is known of the adapter, 0..1.")
    spaces: dict[str, str] = Field(description="Space to model.")
    processing_time: float = Field(description="Seconds.")
    error: str | None = Field(description="With the status `failed`: why, and what to do.")


class EmbeddingComputed(BaseModel):
    """What became of the adapter's vectors."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "lora_id": ADAPTER_ID,
                    "status": "completed",
                    "embedding_stats": {
                        "computed": True,
                        "embedding_count": 3,
                        "last_computed": "2026-01-01T08:00:00Z",
                        "quality_score": 0.82,
                        "spaces": {
                            "artistic": "all-MiniLM-L6-v2",
                            "semantic": "all-MiniLM-L6-v2",
                            "technical": "all-MiniLM-L6-v2",
                        },
                        "processing_time": 0.09,
                        "error": None,
                    },
                }
            ]
        }
    )

    lora_id: str
    status: Literal["completed", "failed"]
    embedding_stats: EmbeddingDetails


class BatchQuestion(BaseModel):
    """The adapters whose vectors are wanted."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"lora_ids": [ADAPTER_ID]}]})

    lora_ids: list[Annotated[str, Field(max_length=200)]] = Field(min_length=1, max_length=10_000)
    force_recompute: bool = Field(False, strict=True, description="Compute also what is current.")


class BatchFailure(BaseModel):
    """An adapter whose vectors could not be computed."""

    lora_id: str
    reason: str


class EmbeddingBatch(BaseModel):
    """What was done so far."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "processed_count": 12,
                    "skipped_count": 30,
                    "failed_count": 1,
                    "processing_time": 1.4,
                    "queued_count": 0,
                    "run_id": None,
                    "note": None,
                    "failures": [{"lora_id": ADAPTER_ID, "reason": "there is no such adapter"}],
                }
            ]
        }
    )

    processed_count: int = Field(description="Adapters of which vectors were written inside the call.")
    skipped_count: int = Field(description="Adapters whose vectors were current.")
    failed_count: int
    processing_time: float = Field(description="Seconds.")
    queued_count: int = Field(description="Adapters that the run computes.")
    run_id: str | None = Field(description="The run of Dagster, where so many were due that one was started.")
    note: str | None = Field(description="What keeps the run from starting, if anything does.")
    failures: list[BatchFailure]


class Device(BaseModel):
    """A device that could compute vectors."""

    kind: str
    name: str
    memory_bytes: int | None
    usable: bool
    note: str | None


class IndexDetails(BaseModel):
    """The published index."""

    status: str
    detail: str
    generation: str | None
    adapters: int | None
    recall: float | None = Field(
        description="The least over several weightings, measured against exact search at publication."
    )
    published_at: datetime | None


class CacheDetails(BaseModel):
    """Recommendations that are kept; hits and misses are those of the answering process since its start."""

    enabled: bool
    ttl_seconds: int
    entries: int = Field(description="Answers that are kept now.")
    hits: int
    misses: int
    hit_rate: float | None = Field(description="Hits among all questions, 0..1; null before the first.")


class RecommendationStats(BaseModel):
    """Figures of the recommender."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "total_loras": 5000,
                    "loras_with_embeddings": 5000,
                    "embedding_coverage": 1.0,
                    "embeddings_by_space": {"artistic": 5000, "semantic": 5000, "technical": 5000},
                    "gpu_available": False,
                    "gpu_details": [],
                    "devices": [
                        {"kind": "cpu", "name": "x86_64", "memory_bytes": 8589934592, "usable": True, "note": None}
                    ],
                    "index": {
                        "status": "ready",
                        "detail": "5000 adapters",
                        "generation": "20260101T080000-ab12cd34",
                        "adapters": 5000,
                        "recall": 1.0,
                        "published_at": "2026-01-01T08:00:00Z",
                    },
                    "cache": {
                        "enabled": True,
                        "ttl_seconds": 3600,
                        "entries": 12,
                        "hits": 30,
                        "misses": 12,
                        "hit_rate": 0.714,
                    },
                }
            ]
        }
    )

    total_loras: int
    loras_with_embeddings: int
    embedding_coverage: float = Field(description="0..1.")
    embeddings_by_space: dict[str, int]
    gpu_available: bool = Field(description="Whether there is a GPU that the installed torch can use.")
    gpu_details: list[Device]
    devices: list[Device]
    index: IndexDetails
    cache: CacheDetails
