"""A system that somebody uses: every kind of state that a user leaves, made over the API, and shown by it."""

from typing import Any

import httpx

from tests.serving.generating import ASKED, Studio
from warehouse.jobs import JobStatus

_USERS_FIELDS = (
    *("name", "description", "weight", "active", "ordinal", "favorite", "user_tags", "user_notes", "user_fields"),
    *("file_path", "file_state", "created_at"),
)


def use(studio: Studio) -> None:
    """Edit, activate, tag, delete, deliver, generate and judge."""
    api = studio.client
    listed = _done(api.get("/api/v1/adapters", params={"sort_by": "name", "limit": 100}))["items"]
    ids = [adapter["id"] for adapter in listed if adapter["file_state"] == "present"]
    _done(api.post(f"/api/v1/adapters/{ids[0]}/activate", json={"ordinal": 2}))
    _done(api.post(f"/api/v1/adapters/{ids[1]}/activate"))
    _done(api.post(f"/api/v1/adapters/{ids[1]}/deactivate"))
    edited = {"weight": 0.65, "user_tags": ["for portraits", "水墨"], "user_notes": 'Zeile\n"zwei" 🐉'}
    _done(api.patch(f"/api/v1/adapters/{ids[2]}", json=edited))
    _done(api.patch(f"/api/v1/adapters/{ids[3]}", json={"description": "<p>My own words.</p>", "favorite": True}))
    _done(api.post("/api/v1/adapters/bulk", json={"action": "tag", "lora_ids": ids[:4], "tags": ["keep"]}))
    _done(api.delete(f"/api/v1/adapters/{ids[4]}"))
    delivery = {"prompt": "a knight", "mode": "http", "params": {"url": "http://127.0.0.1:9/prompts"}}
    _done(api.post("/api/v1/deliveries", json=delivery))
    dropped = _done(api.post("/api/v1/deliveries", json=delivery))
    _done(api.post(f"/api/v1/deliveries/{dropped['delivery_id']}/cancel"))
    with studio.working():
        members = [{"id": ids[0], "weight": 0.8}, {"id": ids[3], "weight": 0.5}]
        jobs = [studio.queue(**{**ASKED, "seed": seed, "lora_adapters": members}) for seed in (7, 8, 9)]
        assert [studio.finished(job).status for job in jobs] == [JobStatus.SUCCEEDED] * 3
    results = [result["id"] for result in _done(api.get("/api/v1/generation/results"))]
    _done(api.put(f"/api/v1/generation/results/{results[0]}/rating", json={"rating": 5}))
    _done(api.put(f"/api/v1/generation/results/{results[1]}/favorite", json={"is_favorite": True}))
    _done(api.delete(f"/api/v1/generation/results/{results[2]}"))


def _done(answer: httpx.Response) -> Any:
    assert answer.is_success, (answer.request.url, answer.text)
    return answer.json() if answer.content else None


def users_state(api: httpx.Client) -> dict[str, Any]:
    """What the API shows of all that, without what it signs, counts or computes anew."""
    adapters = _done(api.get("/api/v1/adapters", params={"sort_by": "name", "limit": 100}))["items"]
    details = [_done(api.get(f"/api/v1/adapters/{adapter['id']}")) for adapter in adapters]
    results = _done(api.get("/api/v1/generation/results"))
    deliveries = _done(api.get("/api/v1/deliveries"))["items"]
    entries = _done(api.get("/api/v1/audit", params={"limit": 100}))["items"]
    return {
        "adapters": {
            shown["id"]: {name: shown[name] for name in _USERS_FIELDS if name in shown}
            for shown in (detail.get("adapter", detail) for detail in details)
        },
        "results": {
            result["id"]: {name: result.get(name) for name in ("prompt", "seed", "rating", "is_favorite", "created_at")}
            for result in results
        },
        "deliveries": {job["id"]: [job["status"], job["prompt"]] for job in deliveries},
        "audit": [[entry["action"], entry["subject_id"], entry["before"], entry["after"]] for entry in entries],
    }
