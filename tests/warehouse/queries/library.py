"""A library of adapters written straight into the tables: plausible, seeded, and as large as a test wants it."""

import random
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import insert, select

from warehouse import facets, fulltext
from warehouse.engine import Database
from warehouse.ids import new_id
from warehouse.models import Adapter, AdapterDetail, AdapterSearch, AdapterTag

BASE_MODELS = ["SDXL 1.0", "SD 1.5", "Pony", "Illustrious", "Flux.1 D", None]
ARCHETYPES = ["character", "style", "concept", "clothing", None]
TAGS = ["character", "style", "anime", "woman", "clothing", "fantasy", "photorealistic", "水墨", "Robot", "rare tag"]
TAG_SHARES = [0.4, 0.3, 0.3, 0.2, 0.1, 0.05, 0.05, 0.01, 0.01, 0.001]
NOUNS = ["Dragon", "Castle", "Samurai", "Nebula", "Forest", "水墨画", "Кот", "Knight", "Mecha", "Garden"]
STYLES = ["Watercolor", "Ink", "Neon", "Gothic", "Pastel", "Retro", "Baroque", "Pixel", "Noir", "Clay"]
BORN = datetime(2024, 1, 1, tzinfo=UTC)


def adapter_values(number: int, **overrides: Any) -> dict[str, Any]:
    """Every column of an adapter; `number` makes it unique."""
    name = overrides.get("name", f"{NOUNS[number % 10]} {STYLES[number // 10 % 10]} {number}")
    born = BORN + timedelta(seconds=number)
    values: dict[str, Any] = {
        "id": new_id(),
        "source_key": f"file:/library/{number}.safetensors",
        "name": name,
        "version": "v1.0",
        "canonical_version_name": "v1.0",
        "description": f"<p>A LoRA of {name}.</p>",
        "author_username": f"author{number % 50}",
        "visibility": "Public",
        "published_at": born,
        "tags": [],
        "trained_words": [f"trigger{number}"],
        "triggers": [f"trigger{number}"],
        "activation_text": f"trigger{number}",
        "archetype": "style",
        "archetype_confidence": 0.8,
        "base_model": "SDXL 1.0",
        "sd_version": "SDXL",
        "nsfw_level": 1,
        "supports_generation": True,
        "downloads": number,
        "likes": None,
        "rating": 4.5,
        "stats": {"downloadCount": number},
        "extra": {},
        "file_path": f"/library/{number}.safetensors",
        "file_state": "present",
        "primary_file_name": f"{number}.safetensors",
        "primary_file_size_kb": 1024.0 + number,
        "primary_file_sha256": f"{number:064x}",
        "preview_path": None,
        "civitai_model_id": None,
        "active": False,
        "ordinal": None,
        "user_tags": [],
        "user_fields": [],
        "content_digest": f"{number:032x}",
        "producer": "test",
        "last_ingested_at": born,
        "created_at": born,
        "updated_at": born,
    }
    return values | overrides


def _random_values(number: int, source: random.Random) -> dict[str, Any]:
    tags = [tag for tag, share in zip(TAGS, TAG_SHARES, strict=True) if source.random() < share]
    return adapter_values(
        number,
        tags=tags,
        base_model=source.choice(BASE_MODELS),
        archetype=source.choice(ARCHETYPES),
        active=source.random() < 0.01,
        downloads=source.choice([None, source.randrange(100_000)]),
        rating=source.choice([None, None, round(source.uniform(1, 5), 1)]),
        primary_file_size_kb=source.choice([None, source.uniform(1e3, 1e6)]),
        nsfw_level=source.choice([0, 1, 3, 31]),
        updated_at=BORN + timedelta(seconds=source.randrange(10**7)),
    )


def insert_adapters(database: Database, rows: list[dict[str, Any]]) -> list[int]:
    """Insert adapters with their tags, words, details and counters in one transaction; their numbers, in order."""
    with database.write() as connection:
        connection.execute(insert(Adapter), rows)
        pks = dict(
            connection.execute(select(Adapter.id, Adapter.pk).where(Adapter.id.in_([row["id"] for row in rows]))).all()
        )
        folded = {row["id"]: sorted({fulltext.fold(tag) for tag in row["tags"]}) for row in rows}
        tags = [{"adapter_pk": pks[key], "tag": tag} for key, values in folded.items() for tag in values]
        if tags:
            connection.execute(insert(AdapterTag), tags)
        connection.execute(insert(AdapterSearch), [{"adapter_pk": pks[row["id"]], **_words(row)} for row in rows])
        connection.execute(insert(AdapterDetail), [_detail(pks[row["id"]], row) for row in rows])
        difference: Counter[facets.FacetKey] = Counter()
        for row in rows:
            difference.update(facets.keys_of(row, folded[row["id"]]))
        facets.apply(connection, difference)
    return [pks[row["id"]] for row in rows]


def _words(row: dict[str, Any]) -> dict[str, str]:
    return fulltext.search_row(
        name=row["name"],
        version=row["version"],
        author=row["author_username"],
        tags=row["tags"],
        words=row["trained_words"],
        description=row["description"],
        notes=None,
    )


def _detail(pk: int, row: dict[str, Any]) -> dict[str, Any]:
    return {
        "adapter_pk": pk,
        "provenance": {"/library/a.civitai.info": ["name"], "file": ["file_path"]},
        "description_text": f"A LoRA of {row['name']}.",
        "examples": [{"url": "https://example.invalid/1.png", "prompt": f"{row['name']}, masterpiece"}],
    }


def fill(database: Database, count: int, *, seed: int = 7, chunk: int = 1_000) -> None:
    """Insert `count` random adapters."""
    source = random.Random(seed)
    for start in range(0, count, chunk):
        insert_adapters(
            database, [_random_values(number, source) for number in range(start, min(count, start + chunk))]
        )


def every_row(database: Database) -> Iterator[Any]:
    """All adapters, read the simplest way there is: what lists are compared with."""
    with database.read() as connection:
        yield from connection.execute(select(Adapter.__table__)).all()
