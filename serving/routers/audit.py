"""`/audit`: who changed what. For admins alone (`security`)."""

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import Response

from serving import encoding, problems
from serving.deps import ServicesDep
from serving.schemas.audit import AuditPage
from warehouse.queries import audit

router = APIRouter(prefix="/audit", tags=["audit"])


@router.get(
    "",
    summary="List what was changed, by whom",
    operation_id="list_audit_entries",
    response_model=AuditPage,
    responses=problems.documented(422),
)
def list_entries(
    services: ServicesDep,
    limit: Annotated[int, Query(ge=1, le=500, description="Entries at most.")] = 100,
    before: Annotated[int | None, Query(ge=1, lt=2**63, description="`next_before` of the page before.")] = None,
    subject: Annotated[str | None, Query(max_length=200, description="Id of what was changed.")] = None,
    actor: Annotated[str | None, Query(max_length=200, description="Name of the key that changed it.")] = None,
) -> Response:
    """Changes, newest first: one entry for each thing changed, written in the transaction that changed it.

    With API keys configured it needs one with the role `admin`.
    """
    with services.database.read() as connection:
        found = audit.entries(connection, limit=limit + 1, before=before, subject_id=subject, actor=actor)
    shown = found[:limit]
    return encoding.answer(
        {
            "items": [
                {
                    "id": item.number,
                    "timestamp": item.at,
                    "actor": item.actor,
                    "request_id": item.request_id,
                    "action": item.action,
                    "subject_kind": item.subject_kind,
                    "subject_id": item.subject_id,
                    "before": item.before,
                    "after": item.after,
                }
                for item in shown
            ],
            "next_before": shown[-1].number if len(found) > limit else None,
        }
    )
