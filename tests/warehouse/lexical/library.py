"""Adapters with example prompts in a database."""

import hashlib
from typing import Any

from sqlalchemy import update

from tests.warehouse.queries.library import adapter_values, insert_adapters
from warehouse.engine import Database
from warehouse.models import Adapter, AdapterDetail, utc_now


def add(database: Database, number: int, name: str, *prompts: str, **values: Any) -> int:
    """An adapter with the prompts of its example images; its number."""
    row = adapter_values(number, name=name, content_digest=_digest(name), updated_at=utc_now(), **values)
    [pk] = insert_adapters(database, [row])
    examples = [{"prompt": prompt} for prompt in prompts]
    with database.write() as connection:
        connection.execute(
            update(AdapterDetail)
            .where(AdapterDetail.adapter_pk == pk)
            .values(examples=examples, description_text="About something.")
        )
    return pk


def rename(database: Database, pk: int, name: str) -> None:
    """A change of content, as an edit makes one."""
    with database.write() as connection:
        connection.execute(
            update(Adapter)
            .where(Adapter.pk == pk)
            .values(name=name, content_digest=_digest(name), updated_at=utc_now())
        )


def _digest(content: str) -> str:
    return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()
