"""A library of a few themes written straight into the tables, as large as a test wants it."""

from collections import Counter
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import insert

from warehouse import facets
from warehouse.engine import Database
from warehouse.models import Adapter, AdapterDetail

BORN = datetime(2026, 1, 1, tzinfo=UTC)
THEMES = [
    ("Watercolor Landscape", ["style", "watercolor"], "Loose watercolor washes of hills and rivers on wet paper."),
    ("Steampunk Airship", ["vehicle", "steampunk"], "Brass airships with propellers, rivets and steam engines."),
    ("Winter Wool Coat", ["clothing", "coat"], "A long warm wool coat with a scarf and buttons."),
    ("Cyberpunk Street", ["background", "city"], "A neon lit street at night in the rain of a future city."),
    ("水墨画", ["style", "ink"], "中国水墨画风格，山水与竹子 🎋"),
]
BASES = ["SDXL 1.0", "SD 1.5", "Pony", None]


def adapter(pk: int, **values: Any) -> dict[str, Any]:
    """A row of `adapters` joined with its detail; its theme follows from its number."""
    name, tags, description = THEMES[pk % len(THEMES)]
    return {
        "pk": pk,
        "id": f"00000000-0000-7000-8000-{pk:012d}",
        "source_key": f"file:/library/{pk}.safetensors",
        "name": f"{name} {pk}",
        "version": "v1.0",
        "tags": tags,
        "trained_words": [f"{tags[-1]}{pk}"],
        "triggers": [f"{tags[-1]}{pk}"],
        "activation_text": None,
        "author_username": "author",
        "archetype": tags[0],
        "base_model": BASES[pk % len(BASES)],
        "sd_version": None,
        "nsfw_level": 1,
        "stats": {},
        "extra": {"rank": 8 << pk % 3, "network_type": "lora"},
        "file_path": f"/library/{pk}.safetensors",
        "file_state": "present",
        "preview_path": None,
        "active": False,
        "user_tags": [],
        "user_fields": [],
        "content_digest": f"{pk:032x}",
        "created_at": BORN,
        "updated_at": BORN,
        "description_text": description,
        "examples": [{"prompt": f"<lora:x:0.8>, masterpiece, {description.lower()}, <lora:y:1>"}],
        **values,
    }


def fill(database: Database, *adapters: dict[str, Any]) -> None:
    """Insert adapters with their details and counters."""
    details = [
        {"adapter_pk": row["pk"], "provenance": {}, "description_text": row.pop("description_text"),
         "notes": None, "examples": row.pop("examples")}
        for row in adapters
    ]  # fmt: skip
    with database.write() as connection:
        connection.execute(insert(Adapter), list(adapters))
        connection.execute(insert(AdapterDetail), details)
        for row in adapters:
            facets.apply(connection, Counter(facets.keys_of(row, row["tags"])))
