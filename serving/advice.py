"""What can be said of a stack of adapters as a whole: do they go together, what do their licences allow, how strong
are they.

Pure. Belongs here: the rules by which answers for single adapters become one for all of them. Does not: the graph of
base models (`warehouse.compatibility`) and the spellings of licences (`warehouse.civitai.values`).
"""

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from serving.composition import NAMED, USUAL_WEIGHT, Member, Token, each
from warehouse import compatibility
from warehouse.civitai.values import commercial_use
from warehouse.compatibility import Pair, Verdict

PAIRS_TOLD: Final = 100
"""Pairs of base models that are told one by one."""
LICENCE_TEXT: Final = 500
"""Characters of a licence's own words that are shown."""


class Permission(StrEnum):
    """Whether something is permitted."""

    ALLOWED = "allowed"
    FORBIDDEN = "forbidden"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class PermissionAnswer:
    """One permission for a whole stack: forbidden if any adapter forbids it, else unknown if it is for any."""

    state: Permission
    meaning: str
    forbidden_by: tuple[str, ...]
    """Ids of adapters."""
    unknown_for: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Creditor:
    """Somebody who must be named, with the adapters that ask for it."""

    author: str | None
    """None: the library does not know the author of these adapters."""
    adapter_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Credit:
    """Whether the authors must be named."""

    required: bool | None
    """None is unknown: no adapter is known to ask for it, and of some it is not known."""
    to: tuple[Creditor, ...]


@dataclass(frozen=True, slots=True)
class LicenceText:
    """The words in which an adapter states its licence."""

    adapter_id: str
    text: str


@dataclass(frozen=True, slots=True)
class Licence:
    """What may be done with a stack."""

    permissions: dict[str, PermissionAnswer]
    credit: Credit
    texts: tuple[LicenceText, ...]


@dataclass(frozen=True, slots=True)
class BaseModelUse:
    """A base model of a stack and the adapters made for it."""

    base_model: str | None
    ecosystems: tuple[str, ...]
    """What the name can mean; empty where it is unknown."""
    note: str | None
    """Why nothing can be said of it."""
    adapter_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Compatibility:
    """Whether the adapters go together; it says nothing of the checkpoint they will be used on."""

    verdict: Verdict
    base_models: tuple[BaseModelUse, ...]
    pairs: tuple[Pair, ...]
    pairs_left_out: int


@dataclass(frozen=True, slots=True)
class Strengths:
    """How strong a stack is. Facts, for no sum is known from which images break: see `remark`."""

    total_weight: float
    """Sum of the weights' amounts."""
    combined_weight: float
    """Root of the sum of their squares: how far adapters that have nothing in common pull together."""
    total_effective: float | None
    """Sum of the amounts of weight × alpha / rank; None where it is not known for every adapter."""
    remark: str | None


@dataclass(frozen=True, slots=True)
class Advice:
    """What can be said of a stack."""

    compatibility: Compatibility
    licence: Licence
    strengths: Strengths
    warnings: tuple[str, ...]


def advise(tokens: Sequence[Token]) -> Advice:
    """Advice on the adapters of a prompt. Of no adapters everything is true: they go together and forbid nothing."""
    members = [token.member for token in tokens]
    verdict = compatibility.stack(member.base_model for member in members)
    return Advice(
        compatibility=_compatibility(members, verdict),
        licence=_licence(members),
        strengths=_strengths(tokens),
        warnings=(*_warnings_of_pairs(members, verdict.pairs), *_warnings_of_unknown(members)),
    )


def _compatibility(members: Sequence[Member], verdict: compatibility.StackVerdict) -> Compatibility:
    users: defaultdict[str | None, list[str]] = defaultdict(list)
    for member in members:
        users[member.base_model].append(member.id)
    uses = []
    for base_model, ids in users.items():
        ecosystems = compatibility.ecosystems_of(base_model)
        note = None if ecosystems else compatibility.why_unknown(base_model)
        uses.append(BaseModelUse(base_model, ecosystems, note, tuple(ids)))
    return Compatibility(
        verdict=verdict.verdict,
        base_models=tuple(uses),
        pairs=verdict.pairs[:PAIRS_TOLD],
        pairs_left_out=max(0, len(verdict.pairs) - PAIRS_TOLD),
    )


def _warnings_of_pairs(members: Sequence[Member], pairs: Sequence[Pair]) -> list[str]:
    clashes = [pair for pair in pairs if pair.relation.verdict is Verdict.NONE]
    warnings = [
        f"{_users(members, pair.first)} and {_users(members, pair.second)} do not go together: {pair.relation.reason}"
        for pair in clashes[:NAMED]
    ]
    if len(clashes) > NAMED:
        warnings.append(f"{len(clashes) - NAMED:,} more pairs of base models do not go together")
    return warnings


def _users(members: Sequence[Member], base_model: str) -> str:
    titles = [member.title for member in members if member.base_model == base_model]
    more = f" and {len(titles) - 3:,} more" if len(titles) > 3 else ""
    return f"{base_model} ({', '.join(titles[:3])}{more})"


def _warnings_of_unknown(members: Sequence[Member]) -> list[str]:
    unknown = [member for member in members if not compatibility.ecosystems_of(member.base_model)]
    return each(
        unknown,
        lambda member: (
            f"the base model of {member.title} is unknown ({compatibility.why_unknown(member.base_model)}): whether it "
            "goes with the others cannot be said"
        ),
        "have unknown base models",
    )


def _flag(key: str) -> Callable[[Mapping[str, Any]], bool | None]:
    def read(licence: Mapping[str, Any]) -> bool | None:
        value = licence.get(key)
        return value if isinstance(value, bool) else None

    return read


def _use(use: str) -> Callable[[Mapping[str, Any]], bool | None]:
    def read(licence: Mapping[str, Any]) -> bool | None:
        uses = commercial_use(licence.get("allow_commercial_use"))
        return use in uses if uses is not None else None

    return read


_NO_CREDIT: Final = "use_without_credit"
_PERMISSIONS: Final = {
    _NO_CREDIT: ("use the adapters without naming their authors (allowNoCredit)", _flag("allow_no_credit")),
    "sell_images": ("sell images made with them (allowCommercialUse: Image)", _use("Image")),
    "generate_on_civitai": ("use them on Civitai's own generator (allowCommercialUse: RentCivit)", _use("RentCivit")),
    "generate_for_money": ("use them on services that generate for money (allowCommercialUse: Rent)", _use("Rent")),
    "sell_model": ("sell them or merges with them (allowCommercialUse: Sell)", _use("Sell")),
    "share_merges": ("share merges and other derivatives of them (allowDerivatives)", _flag("allow_derivatives")),
    "change_licence": (
        "give derivatives other permissions (allowDifferentLicense)",
        _flag("allow_different_license"),
    ),
}


def _licence(members: Sequence[Member]) -> Licence:
    permissions = {}
    for name, (meaning, read) in _PERMISSIONS.items():
        answers = [(member.id, read(member.licence or {})) for member in members]
        forbidden = tuple(key for key, answer in answers if answer is False)
        unknown = tuple(key for key, answer in answers if answer is None)
        state = Permission.FORBIDDEN if forbidden else Permission.UNKNOWN if unknown else Permission.ALLOWED
        permissions[name] = PermissionAnswer(state, meaning, forbidden, unknown)
    texts = ((member.id, (member.licence or {}).get("text")) for member in members)
    return Licence(
        permissions=permissions,
        credit=_credit(members, permissions[_NO_CREDIT]),
        texts=tuple(LicenceText(key, text[:LICENCE_TEXT]) for key, text in texts if isinstance(text, str) and text),
    )


def _credit(members: Sequence[Member], uncredited: PermissionAnswer) -> Credit:
    required = {Permission.FORBIDDEN: True, Permission.UNKNOWN: None, Permission.ALLOWED: False}[uncredited.state]
    askers = frozenset(uncredited.forbidden_by)
    asking: defaultdict[str | None, list[str]] = defaultdict(list)
    for member in members:
        if member.id in askers:
            asking[member.author].append(member.id)
    return Credit(required, tuple(Creditor(author, tuple(ids)) for author, ids in asking.items()))


_SCALED_BY_RANK: Final = frozenset({"lora", "locon", "dora", "loha", "peft", "diffusers"})
"""Networks whose update is multiplied by alpha / rank as a whole; others scale by module or not at all."""


def scale(network_type: str | None, rank: int | None, alpha: float | None) -> float | None:
    """What a file multiplies a weight by; None where its type, rank or alpha is not known or means something else."""
    if network_type not in _SCALED_BY_RANK or not rank or rank < 0 or alpha is None or not math.isfinite(alpha):
        return None
    return alpha / rank


def effective(token: Token) -> float | None:
    """The weight of a token times the scale of its file; None where that is unknown."""
    return token.weight * token.member.scale if token.member.scale is not None else None


def _strengths(tokens: Sequence[Token]) -> Strengths:
    weights = [abs(token.weight) for token in tokens]
    known = [abs(found) for token in tokens if (found := effective(token)) is not None]
    combined = math.hypot(*weights)
    return Strengths(
        total_weight=round(sum(weights), 3),
        combined_weight=round(combined, 3),
        total_effective=round(sum(known), 6) if len(known) == len(tokens) else None,
        remark=_remark(weights, combined),
    )


def _remark(weights: Sequence[float], combined: float) -> str | None:
    """Several adapters that pull as far as a single one beyond the usual bound; that single one has its warning.

    Weights are judged, not weight × alpha / rank: a file was trained at its scale, so that 1 means "as trained".
    """
    if combined <= USUAL_WEIGHT or max(weights) > USUAL_WEIGHT:
        return None
    return (
        f"together {len(weights):,} adapters may change the model as much as one at weight {combined:.3g} would; where "
        "images break, lower the weights"
    )
