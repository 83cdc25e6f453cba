"""Questions and answers of composing. The rules behind them are in `serving.composition` and `serving.advice`."""

from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from serving.advice import Permission
from serving.composing import MAX_MEMBERS
from serving.schemas.adapters import ADAPTER_ID
from serving.schemas.strengths import STRENGTH_EXAMPLE, Strength
from warehouse.compatibility import Verdict

MAX_TEXT = 20_000
"""Characters of a prefix or suffix: as much as a prompt may have."""
MAX_WEIGHT = 1_000


def _without_nul(text: str) -> str:
    if "\x00" in text:
        raise ValueError("holds the character U+0000: leave it out")
    return text


PromptText = Annotated[str, Field(max_length=MAX_TEXT), AfterValidator(_without_nul)]


class ComposeAdapter(BaseModel):
    """An adapter to compose."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"id": ADAPTER_ID, "weight": 0.8}]})

    id: str = Field(max_length=200, description="The adapter's id.")
    weight: float | None = Field(
        None, ge=-MAX_WEIGHT, le=MAX_WEIGHT, allow_inf_nan=False, description="Null or absent: the adapter's own."
    )


class ComposeDelivery(BaseModel):
    """Where the prompt is to be delivered.

    The parameters stand beside `mode`, under `params`, or under the mode's name.
    """

    model_config = ConfigDict(
        extra="allow",
        json_schema_extra={"examples": [{"mode": "http", "params": {"url": "http://127.0.0.1:7861/prompt"}}]},
    )

    mode: str = Field(min_length=1, max_length=64, description="How: `http`, `cli`, `sdnext`, or a plugin's name.")
    params: dict[str, Any] | None = None


class ComposeQuestion(BaseModel):
    """What to compose; an empty object composes the active adapters."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {"prefix": "masterpiece, a dragon over a misty valley,", "suffix": "at dawn", "include_triggers": True},
                {"prefix": "a dragon", "adapters": [{"id": ADAPTER_ID, "weight": 0.6}]},
            ]
        },
    )

    prefix: PromptText | None = Field(None, description="Stands before the tokens, as it is.")
    suffix: PromptText | None = Field(None, description="Stands behind the tokens, as it is.")
    include_triggers: bool = Field(
        False, description="Add each adapter's activation text, or else its first trigger group, behind the tokens."
    )
    adapters: list[ComposeAdapter] | None = Field(
        None,
        max_length=MAX_MEMBERS,
        description="Compose these instead of the active ones. Their place follows from their ordinals, not from the "
        "list; one that is listed twice counts with its larger weight.",
    )
    delivery: ComposeDelivery | None = Field(None, description="Queue the composed prompt for delivery.")


class ComposedAdapter(BaseModel):
    """An adapter of the prompt, in the order of the tokens."""

    id: str
    name: str
    version: str | None
    token: str
    weight: float = Field(description="As the token states it.")
    ordinal: int | None
    base_model: str | None
    file_state: str
    trigger_text: str | None = Field(description="What `include_triggers` adds for it.")
    scale: float | None = Field(description="Alpha / rank of its file; null is unknown.")
    effective_weight: float | None = Field(description="Weight × scale; null is unknown.")
    strength: Strength | None = Field(description="Which weight is suggested; null where nothing tells.")


class BaseModelUse(BaseModel):
    """A base model and the adapters made for it."""

    base_model: str | None
    ecosystems: list[str] = Field(description="What the name can mean: adapters within one go together fully.")
    note: str | None = Field(description="Why nothing can be said of it; null where it is known.")
    adapter_ids: list[str]


class BaseModelPair(BaseModel):
    """Two base models whose adapters do not go together fully."""

    first: str
    second: str
    verdict: Verdict
    reason: str


class Compatibility(BaseModel):
    """Whether the adapters go together; nothing is said of the checkpoint they will be used on."""

    verdict: Verdict = Field(description="The worst of all pairs: none, unknown, partial, full.")
    base_models: list[BaseModelUse]
    pairs: list[BaseModelPair] = Field(description="The worst first.")
    pairs_left_out: int = Field(description="Pairs that are not listed, for there are too many.")


class PermissionAnswer(BaseModel):
    """One permission for the whole stack: forbidden if any adapter forbids it, else unknown if it is for any."""

    state: Permission
    meaning: str
    forbidden_by: list[str] = Field(description="Ids of adapters.")
    unknown_for: list[str] = Field(description="Ids of adapters.")


class Permissions(BaseModel):
    """What the adapters' authors permit, as stated on Civitai."""

    use_without_credit: PermissionAnswer
    sell_images: PermissionAnswer
    generate_on_civitai: PermissionAnswer
    generate_for_money: PermissionAnswer
    sell_model: PermissionAnswer
    share_merges: PermissionAnswer
    change_licence: PermissionAnswer


class Creditor(BaseModel):
    """Somebody who must be named."""

    author: str | None = Field(description="Null where the library does not know the author.")
    adapter_ids: list[str]


class Credit(BaseModel):
    """Whether authors must be named, and who."""

    required: bool | None = Field(description="Null: no adapter is known to ask for it, and of some it is unknown.")
    to: list[Creditor]


class LicenceText(BaseModel):
    """The words in which an adapter states its licence."""

    adapter_id: str
    text: str


class Licence(BaseModel):
    """What may be done with the adapters together, as their metadata states it."""

    permissions: Permissions
    credit: Credit
    texts: list[LicenceText]


class Strengths(BaseModel):
    """How strong the stack is: facts, for no sum is known from which images break."""

    total_weight: float = Field(description="Sum of the weights' amounts.")
    combined_weight: float = Field(description="Root of the sum of their squares.")
    total_effective: float | None = Field(
        description="Sum of the amounts of weight × scale; null where a scale is unknown."
    )
    remark: str | None = Field(description="Set where the combined weight is beyond the usual bound of one adapter.")


class StackAdvice(BaseModel):
    """What can be said of the adapters together."""

    compatibility: Compatibility
    licence: Licence
    strengths: Strengths


class QueuedDelivery(BaseModel):
    """The delivery that was queued."""

    id: str
    status: str


def _permission(meaning: str) -> dict[str, Any]:
    return {"state": "allowed", "meaning": meaning, "forbidden_by": [], "unknown_for": []}


class ComposeAnswer(BaseModel):
    """A composed prompt."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "prompt": "a dragon <lora:Ink Dragon:0.8> inkdragon, flowing ink at dawn",
                    "tokens": ["<lora:Ink Dragon:0.8>"],
                    "warnings": [],
                    "adapters": [
                        {
                            "id": ADAPTER_ID,
                            "name": "Ink Dragon",
                            "version": "v1.0",
                            "token": "<lora:Ink Dragon:0.8>",
                            "weight": 0.8,
                            "ordinal": None,
                            "base_model": "SDXL 1.0",
                            "file_state": "present",
                            "trigger_text": "inkdragon, flowing ink",
                            "scale": 0.5,
                            "effective_weight": 0.4,
                            "strength": STRENGTH_EXAMPLE,
                        }
                    ],
                    "advice": {
                        "compatibility": {
                            "verdict": "full",
                            "base_models": [
                                {
                                    "base_model": "SDXL 1.0",
                                    "ecosystems": ["SDXL"],
                                    "note": None,
                                    "adapter_ids": [ADAPTER_ID],
                                }
                            ],
                            "pairs": [],
                            "pairs_left_out": 0,
                        },
                        "licence": {
                            "permissions": {
                                name: _permission(name.replace("_", " ")) for name in Permissions.model_fields
                            },
                            "credit": {"required": False, "to": []},
                            "texts": [],
                        },
                        "strengths": {
                            "total_weight": 0.8,
                            "combined_weight": 0.8,
                            "total_effective": 0.4,
                            "remark": None,
                        },
                    },
                }
            ]
        }
    )

    prompt: str
    tokens: list[str] = Field(description="`<lora:name:weight>`, in the order of the prompt.")
    warnings: list[str] = Field(description="What is probably not meant. The prompt is composed all the same.")
    adapters: list[ComposedAdapter] = Field(description="One for each token.")
    advice: StackAdvice
    delivery: QueuedDelivery | None = Field(None, description="Only where a delivery was asked for.")
