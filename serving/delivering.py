"""A delivery from a request to a row: the mode found, its parameters checked, the job put into its lane.

Belongs here: what every route that queues something shares. Does not: routes, and the rules of jobs
(`warehouse.jobs`).
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Any, Final

from sqlalchemy import Connection

from serving import problems
from serving.delivery_parameters import MAX_DEPTH
from warehouse.audit import Actor
from warehouse.backends import BackendPlugin, Complaint, ParamsError, check_params, plugins
from warehouse.jobs import Enqueued, JobKind, KeyReused, NewJob, UnstorableError, enqueue
from warehouse.jobs.attachments import ATTACHED, detached
from warehouse.settings import Settings

Loc = tuple[str | int, ...]

_NESTED: Final = "generation_params"
_SURROGATE: Final = re.compile(r"[\ud800-\udfff]")


def find_mode(mode: str, settings: Settings, loc: Loc = ("body", "mode")) -> BackendPlugin:
    """The backend of a mode.

    Raises:
        Problem: 422, there is none, or its target is not configured.
    """
    plugin = plugins().get(mode)
    if plugin is None:
        known = ", ".join(sorted(plugins()))
        raise problems.invalid(loc, f"{mode[:64]!r} is none of the modes: {known}", "unknown_mode")
    if not plugin.is_configured(settings):
        raise problems.invalid(loc, f"{mode} is not configured: the settings name no server for it", "not_configured")
    return plugin


@dataclass(frozen=True, slots=True)
class Places:
    """Where the parts of a request stand, for what is said of them."""

    mode: Loc = ("body", "mode")
    prompt: Loc = ("body", "prompt")
    params: Loc = ("body", "params")


IN_BODY: Final = Places()


def prepare(
    mode: str,
    prompt: str,
    params: Mapping[str, Any],
    settings: Settings,
    *,
    places: Places = IN_BODY,
    priority: int = 0,
) -> NewJob:
    """The job of a request, checked. Of the database nothing is written; large parameters become files, which upkeep
    collects if no job comes to refer to them.

    Raises:
        Problem: 422, with what is wrong and where.
    """
    plugin = find_mode(mode, settings, places.mode)
    if (wrong := _unfit(params)) is not None:
        raise problems.invalid(places.params, wrong)
    if plugin.kind is JobKind.GENERATION:
        params = _flat(params)
    try:
        checked = check_params(plugin, prompt, params, settings)
    except ParamsError as error:
        raise _as_problem(error.complaints, places) from error
    checked = detached(checked, settings.attachments_dir)
    return NewJob(plugin.kind, plugin.name, plugin.lane, prompt, checked, plugin.max_attempts, priority)


def _flat(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """Parameters of a generation without the level that front ends of other servers put them under."""
    nested = params.get(_NESTED)
    if not isinstance(nested, Mapping):
        return params
    return {**{name: value for name, value in params.items() if name != _NESTED}, **nested}


def _unfit(params: Mapping[str, Any]) -> str | None:
    """What is wrong with parameters of any mode before it looks at them; None: nothing."""
    waiting: list[tuple[Any, int]] = [(params, 1)]
    while waiting:
        item, level = waiting.pop()
        if isinstance(item, float) and not math.isfinite(item):
            return "holds a number that is not finite, which JSON does not know"
        if not isinstance(item, Mapping | list):
            continue
        if isinstance(item, Mapping) and ATTACHED in item:
            return f"holds a member {ATTACHED!r}, which stands for what is kept in a file: send the text itself"
        if level > MAX_DEPTH:
            return f"is nested deeper than {MAX_DEPTH} levels"
        # Values are refused with their place when they are stored; a name would break the model before.
        if isinstance(item, Mapping) and any(_SURROGATE.search(name) for name in item):
            return "has a name with half of a surrogate pair, which is no character: send whole ones"
        waiting.extend((part, level + 1) for part in (item.values() if isinstance(item, Mapping) else item))
    return None


def _as_problem(complaints: Sequence[Complaint], places: Places) -> problems.Problem:
    errors = [
        {
            "loc": list(places.prompt) if each.at_prompt else [*places.params, *each.loc],
            "msg": each.message,
            "type": each.type,
        }
        for each in complaints
    ]
    first = errors[0]
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    where = ".".join(str(part) for part in first["loc"])
    return problems.Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{where}: {first['msg']}{more}", errors=errors)


def put(
    connection: Connection,
    job: NewJob,
    actor: Actor,
    *,
    idempotency_key: str | None = None,
    digest: str | None = None,
    places: Places = IN_BODY,
) -> Enqueued:
    """Put a job that somebody asks for into its lane, last in the caller's transaction. Have `LaneRuns` look after the
    lane once it commits.

    Raises:
        Problem: 422, what the request holds cannot be stored, or its key came before with another request.
    """
    try:
        asked = replace(job, actor=actor.key_name)
        return enqueue(connection, asked, idempotency_key=idempotency_key, digest=digest)
    except UnstorableError as error:
        part, *rest = error.loc
        raise problems.invalid((*(places.prompt if part == "prompt" else places.params), *rest), str(error)) from error
    except KeyReused as error:
        raise problems.invalid(("header", "Idempotency-Key"), str(error), "key_reused") from error
