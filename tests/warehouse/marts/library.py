"""A small library written straight into the tables, every oddity of the marts in it."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

from sqlalchemy import insert

from warehouse import facets
from warehouse.engine import Database
from warehouse.models import (
    Adapter,
    AdapterTag,
    Bundle,
    CommunityStatistic,
    Document,
    Duplicate,
    Embedding,
    File,
    Finding,
    Inspection,
    Root,
)

START = datetime(2026, 3, 1, 12, 30, 0, 123456, tzinfo=UTC)
DAY = date(2026, 3, 1)
_NS = int(START.timestamp()) * 10**9


def adapter(pk: int, **values: Any) -> dict[str, Any]:
    """A row of `adapters` of which nothing is known but what must be."""
    return {
        "pk": pk,
        "id": f"00000000-0000-7000-8000-{pk:012d}",
        "source_key": f"file:/library/{pk}.safetensors",
        "bundle_pk": None,
        "file_pk": None,
        "name": f"adapter {pk}",
        "version": None,
        "author_username": None,
        "description": None,
        "base_model": None,
        "archetype": None,
        "nsfw_level": 0,
        "tags": [],
        "trained_words": [],
        "triggers": [],
        "stats": {},
        "licence": None,
        "extra": {},
        "downloads": None,
        "likes": None,
        "rating": None,
        "preview_path": None,
        "primary_file_sha256": None,
        "file_path": f"/library/{pk}.safetensors",
        "file_state": "present",
        "active": False,
        "favorite": False,
        "user_tags": [],
        "user_fields": [],
        "content_digest": f"{pk:032x}",
        "created_at": START + timedelta(days=pk % 7),
        "updated_at": START,
        **values,
    }


def file(pk: int, size: int, **values: Any) -> dict[str, Any]:
    """A row of `files`, hashed and present."""
    return {
        "pk": pk,
        "bundle_pk": pk,
        "path": f"/library/{pk}.safetensors",
        "size": size,
        "mtime_ns": _NS,
        "state": "present",
        "first_seen_at": START,
        "hashed_size": size,
        "hashed_mtime_ns": _NS,
        "sha256": f"{pk:064x}",
        "payload_sha256": f"{pk + 100:064x}",
        "missing_since": None,
        **values,
    }


def inspection(pk: int, size: int, **values: Any) -> dict[str, Any]:
    """A row of `inspections` of a sound file."""
    return {
        "file_pk": pk,
        "size": size,
        "mtime_ns": _NS,
        "producer": "1",
        "valid": True,
        "problem": None,
        "message": None,
        "network_type": "lora",
        "rank": 16,
        "alpha": 8.0,
        "base_model": "SDXL 1.0",
        "inspected_at": START,
        **values,
    }


def document(pk: int, **values: Any) -> dict[str, Any]:
    """A row of `documents` that was accepted."""
    return {
        "pk": pk,
        "bundle_pk": pk,
        "path": f"/library/{pk}.civitai.info",
        "size": 1_000 + pk,
        "mtime_ns": _NS,
        "state": "present",
        "shape": "civitai_info",
        "verdict": "accepted",
        "reason_code": None,
        "reason": None,
        "complaints": 0,
        "read_at": START,
        **values,
    }


def embedding(pk: int, adapter_pk: int, space: str, digest: str) -> dict[str, Any]:
    """A row of `embeddings` computed from an adapter of that digest."""
    return {
        "pk": pk,
        "id": f"00000000-0000-7000-9000-{pk:012d}",
        "adapter_pk": adapter_pk,
        "embedding_type": space,
        "dimension": 384,
        "embedding_data": b"\0" * 768,
        "model_name": "all-MiniLM-L6-v2",
        "model_version": "abc",
        "quality_score": 0.5,
        "text_digest": "t",
        "content_digest": digest,
        "producer": "1",
        "created_at": START,
        "updated_at": START,
    }


ADAPTERS: list[dict[str, Any]] = [
    adapter(
        1,
        name="水墨画風 🖌️",
        version="v1.0",
        author_username="作者",
        description="<p>ink</p>",
        base_model="SDXL 1.0",
        archetype="style",
        nsfw_level=1,
        tags=["Ink", "水墨"],
        triggers=["shuimo"],
        trained_words=["shuimo"],
        bundle_pk=1,
        file_pk=1,
        downloads=5_000,
        likes=300,
        rating=4.9,
        stats={"commentCount": 12, "rating": 4.9, "tippedAmountCount": 1.5},
        licence={
            "allow_no_credit": True,
            "allow_commercial_use": ["Image", "Rent"],
            "allow_derivatives": False,
            "allow_different_license": None,
            "text": None,
        },
        preview_path="/library/1.png",
        active=True,
    ),
    adapter(
        2,
        name="quote \" and ' and \\ and\nline",
        author_username="作者",
        base_model="SDXL 1.0",
        archetype="character",
        nsfw_level=31,
        tags=["Ink", "girl"],
        bundle_pk=2,
        file_pk=2,
        downloads=100,
        likes=None,
        primary_file_sha256="f" * 64,
        stats={"commentCount": "many"},
        user_tags=["mine", 7],
        favorite=True,
    ),
    adapter(3, base_model="Pony", tags=["girl", "ink"], bundle_pk=3, file_pk=3, file_state="invalid", nsfw_level=8),
    adapter(4, file_state="remote", downloads=0, likes=0, rating=None, stats={"commentCount": 3.5}),
    adapter(5, bundle_pk=5, file_pk=5, file_state="missing", licence={"allow_no_credit": "yes"}),
]


def fill(database: Database) -> None:
    """Write the small library."""
    with database.write() as connection:
        connection.execute(insert(Root), [{"pk": 1, "path": "/library", "created_at": START}])
        connection.execute(
            insert(Bundle),
            [{"pk": pk, "root_pk": 1, "directory": "/library", "stem": str(pk)} for pk in range(1, 6)],
        )
        connection.execute(
            insert(File),
            [
                file(1, 1_000),
                file(2, 1_000, hashed_mtime_ns=_NS - 1),
                file(3, 0),
                file(5, 4_096, state="missing", missing_since=START, hashed_size=None, hashed_mtime_ns=None),
            ],
        )
        connection.execute(
            insert(Inspection),
            [
                inspection(1, 1_000),
                inspection(2, 1_000, network_type="lokr", rank=4),
                inspection(3, 0, valid=False, problem="empty_file", message="The file is empty", rank=None),
            ],
        )
        connection.execute(
            insert(Document),
            [
                document(1),
                document(2, complaints=2),
                document(3, verdict="quarantined", shape=None, reason_code="not_json", reason="line 1: …"),
                document(4, bundle_pk=3, verdict=None, shape=None, read_at=None),
                document(5, state="missing"),
            ],
        )
        connection.execute(insert(Adapter), ADAPTERS)
        tags = {1: ["ink", "水墨"], 2: ["ink", "girl", "mine"], 3: ["girl", "ink"]}
        connection.execute(
            insert(AdapterTag), [{"adapter_pk": pk, "tag": tag} for pk, values in tags.items() for tag in values]
        )
        connection.execute(
            insert(Finding),
            [
                {
                    "bundle_pk": bundle,
                    "origin": "adapters",
                    "code": "sha256_mismatch",
                    "severity": "warning",
                    "path": "/library/1.safetensors",
                    "message": "the document states another hash",
                    "data": data,
                    "found_at": START,
                }
                for bundle, data in ((1, {"stated": "ab"}), (None, None))
            ],
        )
        connection.execute(
            insert(Duplicate),
            [{"kind": "same_file", "group_key": "ff", "adapter_pk": pk, "score": None} for pk in (1, 2)],
        )
        connection.execute(
            insert(Embedding),
            [
                embedding(1, 1, "semantic", f"{1:032x}"),
                embedding(2, 1, "artistic", f"{1:032x}"),
                embedding(3, 1, "technical", f"{1:032x}"),
                embedding(4, 2, "semantic", "older"),
            ],
        )
        connection.execute(
            insert(CommunityStatistic),
            [
                {
                    "adapter_pk": pk,
                    "day": DAY + timedelta(days=day),
                    "downloads": downloads,
                    "likes": likes,
                    "rating": None,
                    "comments": None,
                }
                for pk, day, downloads, likes in ((1, 0, 10, None), (2, 0, 5, 1), (1, 1, 25, 2), (1, 3, 5_000, 300))
            ],
        )
        facets.repair(connection)
