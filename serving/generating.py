"""A generation from a request to a job: the backend chosen, its adapters composed into the prompt, all of it checked.

Belongs here: what the routes that generate share. Does not: routes, waiting for the end (`waiting`), the rules of
composing (`composing`).
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Connection

from serving import backends, composing, delivering
from serving.composing import Composed, Ingredient, UnknownAdaptersError
from serving.delivering import Loc, Places
from warehouse.audit import Actor
from warehouse.engine import Database
from warehouse.jobs import Enqueued, NewJob
from warehouse.settings import Settings

WAITED_FOR: Final = -10
"""Priority of a job that a request waits for: before those that were queued."""
QUEUED: Final = 0
LORA_ADAPTERS: Final = "lora_adapters"
"""The parameter that says which adapters the tokens mean: objects with `id`, `name` and `weight`."""


@dataclass(frozen=True, slots=True)
class Texts:
    """What stands around the tokens."""

    prefix: str
    suffix: str = ""
    include_triggers: bool = False
    loc: Loc = ("body", "prompt")
    """Where the first of them stands in the request."""


@dataclass(frozen=True, slots=True)
class Stack:
    """The adapters of a request; `ingredients` None: the active ones."""

    ingredients: Sequence[Ingredient] | None
    loc: Loc = ("body", "lora_adapters")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A generation that can be queued."""

    job: NewJob
    places: Places
    digest: str
    """Of the request, for its idempotency key: what is composed may differ from one time to the next."""
    composed: Composed | None

    @property
    def warnings(self) -> tuple[str, ...]:
        """Of composing."""
        return self.composed.warnings if self.composed is not None else ()


def prepare(
    database: Database,
    settings: Settings,
    *,
    backend: str | None,
    texts: Texts,
    stack: Stack | None,
    params: Mapping[str, Any],
    priority: int,
) -> Prepared:
    """Check and compose a request; nothing is written.

    Args:
        backend: its name; None: the default one.
        stack: the adapters that are composed into the prompt; None: the prompt stays as it is.
        params: of the backend.

    Raises:
        Problem: 422, with what is wrong and where; 503, no backend is configured.
    """
    places = Places(mode=("body", "backend"), prompt=texts.loc, params=("body",))
    mode = backends.choose(settings, backend, places.mode)
    composed = None if stack is None else _compose(database, texts, stack)
    prompt = texts.prefix if composed is None else composed.composition.prompt
    if composed is not None:
        # Of a name there may be several versions, and the token says only the name.
        params = {**params, LORA_ADAPTERS: _named(composed)}
    job = delivering.prepare(mode, prompt, params, settings, places=places, priority=priority)
    return Prepared(job, places, _digest(mode, texts, stack, job.params), composed)


def _compose(database: Database, texts: Texts, stack: Stack) -> Composed:
    try:
        with database.read() as connection:
            return composing.compose(
                connection,
                prefix=texts.prefix,
                suffix=texts.suffix,
                include_triggers=texts.include_triggers,
                ingredients=stack.ingredients,
            )
    except UnknownAdaptersError as error:
        raise composing.unknown_adapters(stack.loc, stack.ingredients or (), error) from error


def _named(composed: Composed) -> list[dict[str, Any]]:
    return [
        {"id": token.member.id, "name": token.member.name, "weight": token.weight}
        for token in composed.composition.tokens
    ]


def _digest(mode: str, texts: Texts, stack: Stack | None, params: Mapping[str, Any]) -> str:
    named = None if stack is None or stack.ingredients is None else [[e.id, e.weight] for e in stack.ingredients]
    rest = {name: value for name, value in params.items() if name != LORA_ADAPTERS}
    parts = [mode, texts.prefix, texts.suffix, texts.include_triggers, stack is None, named, rest]
    # This writer takes numbers and texts that no database does, and those are not refused yet.
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def put(connection: Connection, prepared: Prepared, actor: Actor, *, idempotency_key: str | None) -> Enqueued:
    """Queue a generation, last in the caller's transaction. Have `LaneRuns` look after its lane once it commits.

    Raises:
        Problem: 422, it holds what cannot be stored, or its key came before with another request.
    """
    digest = prepared.digest if idempotency_key is not None else None
    return delivering.put(
        connection, prepared.job, actor, idempotency_key=idempotency_key, digest=digest, places=prepared.places
    )
