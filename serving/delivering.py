"""A delivery from a request to a row: the mode found, its parameters checked, the job put into its lane.

Belongs here: what every route that queues something shares. Does not: routes, and the rules of jobs
(`warehouse.jobs`).
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from sqlalchemy import Connection

from serving import problems
from warehouse.backends import BackendPlugin, Complaint, ParamsError, check_params, plugins
from warehouse.jobs import Enqueued, KeyReused, NewJob, UnstorableError, enqueue
from warehouse.settings import Settings

Loc = tuple[str | int, ...]


def find_mode(mode: str, settings: Settings, loc: Loc = ("body", "mode")) -> BackendPlugin:
    """The backend of a mode.

    Raises:
        Problem: 422, there is none, or its target is not configured.
    """
    plugin = plugins().get(mode)
    if plugin is None:
        raise problems.invalid(loc, f"is none of the modes: {', '.join(sorted(plugins()))}", "unknown_mode")
    if not plugin.is_configured(settings):
        raise problems.invalid(loc, f"{mode} is not configured: the settings name no server for it", "not_configured")
    return plugin


def prepare(
    mode: str,
    prompt: str,
    params: Mapping[str, Any],
    settings: Settings,
    *,
    loc: Loc = ("body",),
    params_loc: Sequence[str | int] = ("params",),
    priority: int = 0,
) -> NewJob:
    """The job of a request, checked; nothing is written.

    Args:
        loc: where the request stands, for its errors.
        params_loc: where its parameters stand below that.

    Raises:
        Problem: 422, with what is wrong and where.
    """
    plugin = find_mode(mode, settings, (*loc, "mode"))
    try:
        checked = check_params(plugin, prompt, params, settings)
    except ParamsError as error:
        raise _as_problem(error.complaints, loc, params_loc) from error
    return NewJob(plugin.kind, plugin.name, plugin.lane, prompt, checked, plugin.max_attempts, priority)


def _as_problem(complaints: Sequence[Complaint], loc: Loc, params_loc: Sequence[str | int]) -> problems.Problem:
    errors = [
        {
            "loc": [*loc, "prompt"] if each.at_prompt else [*loc, *params_loc, *each.loc],
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
    *,
    idempotency_key: str | None = None,
    digest: str | None = None,
    loc: Loc = ("body",),
) -> Enqueued:
    """Put a job into its lane, last in the caller's transaction. Have `LaneRuns` look after the lane once it commits.

    Raises:
        Problem: 422, what the request holds cannot be stored, or its key came before with another request.
    """
    try:
        return enqueue(connection, job, idempotency_key=idempotency_key, digest=digest)
    except UnstorableError as error:
        raise problems.invalid((*loc, *error.loc), str(error)) from error
    except KeyReused as error:
        raise problems.invalid(("header", "Idempotency-Key"), str(error), "key_reused") from error
