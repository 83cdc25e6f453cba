"""Composes a prompt from the library: reads the stack, applies the rules, adds the advice.

Belongs here: what stands between the tables and the pure rules (`composition`, `advice`), for every route that
composes. Does not: the rules, and what is done with the prompt.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any

from sqlalchemy import Connection

from serving import advice, composition, problems, strengths
from serving.advice import Advice
from serving.composition import Composition, Member, Token
from warehouse import ids
from warehouse.queries import stacks
from warehouse.queries.stacks import StackRow

MAX_MEMBERS = 1_000
"""Adapters of one prompt. Nobody means more; without a bound, activating a library by a slip would read all of it."""


@dataclass(frozen=True, slots=True)
class Ingredient:
    """An adapter that a client names."""

    id: str
    weight: float | None = None
    """None: the adapter's own."""


class UnknownAdaptersError(LookupError):
    """Adapters that do not exist; `positions` are theirs in what was given."""

    def __init__(self, positions: Sequence[int]) -> None:
        super().__init__(f"{len(positions)} adapters do not exist")
        self.positions = tuple(positions)


def unknown_adapters(
    loc: Sequence[str | int], ingredients: Sequence[Ingredient], error: UnknownAdaptersError
) -> problems.Problem:
    """422 for adapters that do not exist, in a list that stands at `loc`."""
    errors = [
        {
            "loc": [*loc, position, "id"],
            "msg": f"there is no adapter {ingredients[position].id[:100]!r}",
            "type": "unknown_adapter",
        }
        for position in error.positions
    ]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    where = ".".join(str(part) for part in errors[0]["loc"])
    return problems.Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{where}: {errors[0]['msg']}{more}", errors=errors)


@dataclass(frozen=True, slots=True)
class Composed:
    """A composed prompt with advice on its adapters and every warning."""

    composition: Composition
    advice: Advice
    warnings: tuple[str, ...]


def compose(
    connection: Connection,
    *,
    prefix: str = "",
    suffix: str = "",
    include_triggers: bool = False,
    ingredients: Sequence[Ingredient] | None = None,
) -> Composed:
    """Compose the given adapters, at most `MAX_MEMBERS`, or with None the active ones.

    Of more active adapters the first `MAX_MEMBERS` in order are composed, and a warning says so.

    Raises:
        UnknownAdaptersError: some of the given adapters do not exist.
    """
    if ingredients is None:
        members, warnings = _active(connection)
    else:
        members, warnings = _given(connection, ingredients)
    composed = composition.compose(members, prefix=prefix, suffix=suffix, include_triggers=include_triggers)
    advised = advice.advise(composed.tokens)
    return Composed(composed, advised, (*warnings, *composed.warnings, *advised.warnings))


def _active(connection: Connection) -> tuple[list[Member], list[str]]:
    rows = stacks.active(connection, limit=MAX_MEMBERS + 1)
    members = [_member(row) for row in rows[:MAX_MEMBERS]]
    if not members:
        return [], ["no adapter is active: activate some, or name them in `adapters`"]
    if len(rows) <= MAX_MEMBERS:
        return members, []
    total = stacks.active_count(connection)
    some = f"{total:,} adapters are active, and only the first {MAX_MEMBERS:,} in order are composed"
    return members, [f"{some}: deactivate those that are not meant"]


def _given(connection: Connection, ingredients: Sequence[Ingredient]) -> tuple[list[Member], list[str]]:
    if not ingredients:
        return [], ["`adapters` is empty: the prompt holds no token"]
    keys = [ids.canonical(each.id) for each in ingredients]
    found = stacks.by_ids(connection, sorted({key for key in keys if key is not None}))
    unknown = [position for position, key in enumerate(keys) if key not in found]
    if unknown:
        raise UnknownAdaptersError(unknown)
    members = []
    for key, ingredient in zip(keys, ingredients, strict=True):
        assert key is not None
        member = _member(found[key])
        members.append(member if ingredient.weight is None else replace(member, weight=ingredient.weight))
    return members, []


def _member(row: StackRow) -> Member:
    return Member(
        id=row.id,
        name=row.name,
        version=row.version,
        weight=row.weight,
        ordinal=row.ordinal,
        base_model=row.base_model,
        file_state=row.file_state,
        trigger_text=_trigger_text(row),
        author=row.author_username,
        licence=row.licence,
        scale=advice.scale(row.network_type, row.rank, row.alpha),
        strength=strengths.suggested(row.strengths),
    )


def _trigger_text(row: StackRow) -> str | None:
    """The activation text, else the first trigger group, else the first trigger."""
    candidates = (row.activation_text, *row.trained_words[:1], *row.triggers[:1])
    return next((text for text in candidates if text and text.strip()), None)


def content(composed: Composed) -> dict[str, Any]:
    """A composition as answers show it."""
    made, advised = composed.composition, composed.advice
    return {
        "prompt": made.prompt,
        "tokens": [token.text for token in made.tokens],
        "warnings": composed.warnings,
        "adapters": [_detail(token) for token in made.tokens],
        "advice": {
            "compatibility": {
                "verdict": advised.compatibility.verdict,
                "base_models": advised.compatibility.base_models,
                "pairs": [
                    {
                        "first": pair.first,
                        "second": pair.second,
                        "verdict": pair.relation.verdict,
                        "reason": pair.relation.reason,
                    }
                    for pair in advised.compatibility.pairs
                ],
                "pairs_left_out": advised.compatibility.pairs_left_out,
            },
            "licence": advised.licence,
            "strengths": advised.strengths,
        },
    }


def _detail(token: Token) -> dict[str, Any]:
    member = token.member
    return {
        "id": member.id,
        "name": member.name,
        "version": member.version,
        "token": token.text,
        "weight": token.weight,
        "ordinal": member.ordinal,
        "base_model": member.base_model,
        "file_state": member.file_state,
        "trigger_text": member.trigger_text,
        "scale": member.scale,
        "effective_weight": advice.effective(token),
        "strength": member.strength,
    }
