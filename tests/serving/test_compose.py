"""Composing over HTTP: the promises of the route, on both dialects."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from sqlalchemy import event, insert, select, update
from sqlalchemy.engine import Engine

from serving.composing import MAX_MEMBERS
from serving.schemas.compose import MAX_TEXT, ComposeAnswer
from tests.serving.conftest import KEYS
from tests.warehouse.queries.library import adapter_values, insert_adapters
from warehouse.engine import Database
from warehouse.models import Activity, Adapter, AdapterDetail, Bundle, File, Inspection, Root, utc_now
from warehouse.queries import stacks

UNKNOWN = "0190a6f2-0000-7000-8000-000000000000"


def add(database: Database, *parts: dict[str, Any]) -> list[str]:
    """Add adapters, active unless they say otherwise; their ids."""
    rows = [adapter_values(number, **{"active": True, **part}) for number, part in enumerate(parts)]
    # One statement inserts all rows, and takes its columns from the first.
    columns = {key for row in rows for key in row}
    defaults = {"weight": 1.0, "licence": None}
    insert_adapters(database, [{key: row.get(key, defaults.get(key)) for key in columns} for row in rows])
    return [row["id"] for row in rows]


def compose(client: httpx.Client, **body: Any) -> dict[str, Any]:
    """A composition that is what the model says, to the last key."""
    response = client.post("/api/v1/compose", json=body)
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    ComposeAnswer.model_validate(answer, extra="forbid")
    assert answer.keys() == ComposeAnswer.model_fields.keys() - {"delivery"}
    assert [adapter["token"] for adapter in answer["adapters"]] == answer["tokens"]
    return answer


def refused(client: httpx.Client, body: Any) -> dict[str, Any]:
    response = client.post("/api/v1/compose", json=body)
    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    assert problem["errors"]
    return problem


@contextmanager
def statements() -> Iterator[list[str]]:
    """The statements about adapters and their counters that this process sends meanwhile, the server's among them.

    Those of the recommender are left out: it is opened in the background of a server that has just been started.
    """
    seen: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if threading.current_thread().name == "recommender":
            return
        if "FROM adapters" in statement or "FROM facet_counts" in statement:
            seen.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    yield seen
    event.remove(Engine, "before_cursor_execute", note)


def test_the_active_adapters_are_composed_in_order(database: Database, client: httpx.Client) -> None:
    add(
        database,
        {"name": "水墨画", "weight": 0.75},
        {"name": "Кот", "weight": -0.5, "ordinal": 3},
        {"name": "zebra", "weight": 1.0, "ordinal": 0},
        {"name": "Ancient", "weight": 1.23456},
        {"name": "first", "ordinal": -2},
        {"name": "asleep", "active": False},
        {"name": "ancient", "weight": 1e-9},
    )
    answer = compose(client, prefix="a castle,", suffix="at night")
    tokens = "<lora:first:1> <lora:zebra:1> <lora:Кот:-0.5> <lora:Ancient:1.235> <lora:ancient:0> <lora:水墨画:0.75>"
    assert answer["prompt"] == f"a castle, {tokens} at night"
    assert answer["tokens"] == tokens.split(" ")
    assert answer["warnings"] == ["ancient (v1.0) has the weight 0: it does nothing"]


def test_nothing_is_active(client: httpx.Client) -> None:
    answer = compose(client)
    assert (answer["prompt"], answer["tokens"]) == ("", [])
    assert answer["warnings"] == ["no adapter is active: activate some, or name them in `adapters`"]
    assert compose(client, prefix="a", suffix="b", adapters=None)["prompt"] == "a b"
    assert compose(client, prefix=None, suffix="b", adapters=[])["warnings"] == [
        "`adapters` is empty: the prompt holds no token"
    ]


def test_everything_that_is_wrong_with_a_stack_is_a_warning(database: Database, client: httpx.Client) -> None:
    ids = add(
        database,
        {"name": "Dragon", "version": "v1", "weight": 0.5},
        {"name": "Dragon", "version": "v2", "weight": 0.8},
        {"name": "Gone", "file_state": "missing"},
        {"name": "Broken", "file_state": "invalid"},
        {"name": "Old", "base_model": "SD 1.5"},
        {"name": "Whose", "base_model": None},
        {"name": "Strong", "weight": 2.5},
    )
    answer = compose(client)
    said = " | ".join(answer["warnings"])
    for part in (
        "Dragon (v1) at weight 0.5 is left out",
        "the file of Gone (v1.0) is missing",
        "the file of Broken (v1.0) is invalid",
        "SD 1.5 (Old (v1.0)) and SDXL 1.0 (",
        "the base model of Whose (v1.0) is unknown",
        "Strong (v1.0) has the weight 2.5: beyond ±2",
    ):
        assert part in said
    assert len(answer["warnings"]) == 6
    assert [adapter["id"] for adapter in answer["adapters"] if adapter["name"] == "Dragon"] == [ids[1]]
    assert answer["advice"]["compatibility"]["verdict"] == "none"


def test_triggers_stand_behind_the_tokens_only_when_asked_for(database: Database, client: httpx.Client) -> None:
    add(
        database,
        {"name": "A", "activation_text": "<lora:A:1> ink, wash"},
        {"name": "B", "activation_text": None, "trained_words": ["red, blue", "green"], "triggers": ["red"]},
        {"name": "C", "activation_text": "  ", "trained_words": [], "triggers": ["last"]},
        {"name": "D", "activation_text": None, "trained_words": [], "triggers": []},
    )
    tokens = "<lora:A:1> <lora:B:1> <lora:C:1> <lora:D:1>"
    assert compose(client, suffix="end")["prompt"] == f"{tokens} end"
    answer = compose(client, suffix="end", include_triggers=True)
    assert answer["prompt"] == f"{tokens} ink, wash, red, blue, last end"
    assert [adapter["trigger_text"] for adapter in answer["adapters"]][1:] == ["red, blue", "last", None]


def test_a_given_set_is_composed_instead(database: Database, client: httpx.Client) -> None:
    first, second, third = add(
        database,
        {"name": "B", "weight": 0.5, "active": False},
        {"name": "A", "weight": 0.25},
        {"name": "Z", "ordinal": 1, "active": False},
    )
    given = [{"id": first}, {"id": third.upper(), "weight": 0}, {"id": second, "weight": None}]
    answer = compose(client, adapters=given)
    assert answer["tokens"] == ["<lora:Z:0>", "<lora:A:0.25>", "<lora:B:0.5>"]
    twice = compose(client, adapters=[{"id": first}, {"id": first, "weight": 0.7}])
    assert twice["tokens"] == ["<lora:B:0.7>"]
    assert "is left out" in twice["warnings"][0]


def test_unknown_adapters_are_named(database: Database, client: httpx.Client) -> None:
    (known,) = add(database, {"name": "A"})
    given = [{"id": "x\x00'; --"}, {"id": known}, {"id": UNKNOWN}]
    problem = refused(client, {"adapters": given})
    assert [error["loc"] for error in problem["errors"]] == [["body", "adapters", at, "id"] for at in (0, 2)]
    assert problem["detail"].endswith("(and 1 more)")
    assert UNKNOWN in problem["errors"][1]["msg"]


def test_advice_on_licences_and_strengths(database: Database, client: httpx.Client) -> None:
    free = {
        "allow_no_credit": True,
        "allow_commercial_use": ["Image", "Rent"],
        "allow_derivatives": True,
        "allow_different_license": None,
        "text": None,
    }
    first, second = add(
        database,
        {"name": "A", "weight": 0.5, "licence": free},
        {"name": "B", "licence": {**free, "allow_no_credit": False, "text": "ask me"}, "author_username": "brush"},
    )
    _inspect(database, first, network_type="lora", rank=32, alpha=16.0)
    answer = compose(client)
    licence = answer["advice"]["licence"]
    assert {name: found["state"] for name, found in licence["permissions"].items()} == {
        "use_without_credit": "forbidden",
        "sell_images": "allowed",
        "generate_on_civitai": "forbidden",
        "generate_for_money": "allowed",
        "sell_model": "forbidden",
        "share_merges": "allowed",
        "change_licence": "unknown",
    }
    assert licence["credit"] == {"required": True, "to": [{"author": "brush", "adapter_ids": [second]}]}
    assert licence["texts"] == [{"adapter_id": second, "text": "ask me"}]
    assert [(found["scale"], found["effective_weight"]) for found in answer["adapters"]] == [(0.5, 0.25), (None, None)]
    assert answer["advice"]["strengths"]["total_effective"] is None
    (alone,) = compose(client, adapters=[{"id": first, "weight": -1}])["adapters"]
    assert alone["effective_weight"] == -0.5


def test_a_weight_is_suggested_for_each_adapter(database: Database, client: httpx.Client) -> None:
    known, preferred, unknown = add(database, {"name": "A"}, {"name": "B"}, {"name": "C"})
    stated: dict[str, dict[str, Any]] = {
        known: {"count": 3, "median": 0.7, "low": 0.6, "high": 0.8},
        preferred: {"preferred": 0.9},
    }
    for adapter_id, strengths in stated.items():
        pk = select(Adapter.pk).where(Adapter.id == adapter_id).scalar_subquery()
        with database.write() as connection:
            connection.execute(update(AdapterDetail).where(AdapterDetail.adapter_pk == pk).values(strengths=strengths))
    found = {item["id"]: item["strength"] for item in compose(client)["adapters"]}
    assert found[known] == {
        "suggested_weight": 0.7,
        "evidence": "median 0.7 in 3 example images",
        "count": 3,
        "low": 0.6,
        "high": 0.8,
    }
    assert found[preferred]["evidence"] == "the preferred weight of its metadata"
    assert found[unknown] is None


def _inspect(database: Database, adapter_id: str, **measured: Any) -> None:
    """Give an adapter a weight file with what was measured of it."""
    now = utc_now()
    with database.write() as connection:
        root = connection.execute(insert(Root).values(path="/library", created_at=now).returning(Root.pk)).scalar_one()
        bundle = connection.execute(
            insert(Bundle).values(root_pk=root, directory="/library", stem="a").returning(Bundle.pk)
        ).scalar_one()
        file = connection.execute(
            insert(File)
            .values(
                bundle_pk=bundle, path="/library/a.safetensors", size=1, mtime_ns=1, state="present", first_seen_at=now
            )
            .returning(File.pk)
        ).scalar_one()
        connection.execute(
            insert(Inspection).values(
                file_pk=file, size=1, mtime_ns=1, producer="test", valid=True, inspected_at=now, **measured
            )
        )
        connection.execute(update(Adapter).where(Adapter.id == adapter_id).values(file_pk=file))


def test_the_number_of_statements_is_constant(database: Database, client: httpx.Client) -> None:
    ids = add(database, *({"name": f"A{number:03d}"} for number in range(100)))
    seen = []
    for body in ({}, {"adapters": [{"id": ids[0]}]}, {"adapters": [{"id": key} for key in ids]}):
        with statements() as sent:
            compose(client, **body)
        seen.append(len(sent))
    assert seen == [2, 1, 1]


def test_a_library_that_is_active_by_a_slip_is_composed_in_bounds(database: Database, client: httpx.Client) -> None:
    count = MAX_MEMBERS + 500
    add(database, *({"name": f"A{number:05d}", "ordinal": 7 if number > 1_400 else None} for number in range(count)))
    with statements() as sent:
        answer = compose(client)
    assert len(sent) == 3
    assert len(answer["tokens"]) == MAX_MEMBERS
    # Those with an ordinal come first, then the names from the start.
    assert answer["tokens"][0] == "<lora:A01401:1>"
    assert answer["tokens"][99] == "<lora:A00000:1>"
    assert len(answer["warnings"]) == 2
    assert answer["warnings"][0].startswith("1,500 adapters are active, and only the first 1,000 in order are composed")
    assert answer["warnings"][1].startswith("the prompt holds 1,000 tokens")


def test_active_adapters_are_found_by_the_index(sqlite_database: Database) -> None:
    add(sqlite_database, *({"name": f"A{number}"} for number in range(3)))
    with statements() as sent, sqlite_database.read() as connection:
        stacks.active(connection, limit=5)
        assert len(sent) == 2
        for statement in list(sent):
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", (5, 0)).all()
            plan = " | ".join(row[3] for row in rows)
            assert "ix_adapters_active_ordinal" in plan
            assert "SCAN" not in plan
            assert "TEMP B-TREE" not in plan


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ([], ["body"]),
        ({"prefx": "a"}, ["body", "prefx"]),
        ({"prefix": 1}, ["body", "prefix"]),
        ({"prefix": "a\x00"}, ["body", "prefix"]),
        ({"suffix": "x" * (MAX_TEXT + 1)}, ["body", "suffix"]),
        ({"include_triggers": "perhaps"}, ["body", "include_triggers"]),
        ({"adapters": {}}, ["body", "adapters"]),
        ({"adapters": [UNKNOWN]}, ["body", "adapters", 0]),
        ({"adapters": [{}]}, ["body", "adapters", 0, "id"]),
        ({"adapters": [{"id": UNKNOWN, "wait": 1}]}, ["body", "adapters", 0, "wait"]),
        ({"adapters": [{"id": UNKNOWN, "weight": 1_001}]}, ["body", "adapters", 0, "weight"]),
        ({"adapters": [{"id": UNKNOWN, "weight": "heavy"}]}, ["body", "adapters", 0, "weight"]),
        ({"adapters": [{"id": UNKNOWN}] * (MAX_MEMBERS + 1)}, ["body", "adapters"]),
        ({"adapters": [{"id": UNKNOWN}]}, ["body", "adapters", 0, "id"]),
        ({"delivery": "http"}, ["body", "delivery"]),
        ({"delivery": {}}, ["body", "delivery", "mode"]),
        ({"delivery": {"mode": ""}}, ["body", "delivery", "mode"]),
        ({"delivery": {"mode": "m" * 65}}, ["body", "delivery", "mode"]),
        ({"delivery": {"mode": "http", "params": [1]}}, ["body", "delivery", "params"]),
        ({"delivery": {"mode": "http", "http": [1]}}, ["body", "delivery", "http"]),
        ({"delivery": {"mode": "http", "url": "a", "params": {"url": "b"}}}, ["body", "delivery", "params", "url"]),
        ({"delivery": {"mode": "http", "url": "a\x00"}}, ["body", "delivery"]),
    ],
)
def test_bad_bodies_are_refused(sqlite_client: httpx.Client, body: Any, loc: list[Any]) -> None:
    assert refused(sqlite_client, body)["errors"][0]["loc"] == loc


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b'{"prefix": "\\ud800"}',
        b'{"\\ud800": 1}',
        b'{"adapters": [{"id": "\\udfff"}]}',
        b'{"adapters": [{"id": "x", "weight": NaN}]}',
        b'{"adapters": [{"id": "x", "weight": 1e999}]}',
        b'{"delivery": {"mode": "\\ud800"}}',
        b'{"delivery": {"mode": "http", "url": "\\ud800"}}',
        b'{"delivery": {"mode": "http", "\\ud800": 1}}',
        b'{"delivery": {"mode": "http", "a": NaN}}',
        b'{"delivery": {"mode": "http", "a": ' + b"[" * 500 + b"]" * 500 + b"}}",
        b'{"delivery": {"mode": "http", "a": ' + b"[" * 100_000 + b"]" * 100_000 + b"}}",
        b"\xff\xfe",
    ],
    ids=lambda raw: raw[:48].decode("latin-1"),
)
def test_hostile_bodies_are_refused(sqlite_client: httpx.Client, raw: bytes) -> None:
    response = sqlite_client.post("/api/v1/compose", content=raw, headers={"Content-Type": "application/json"})
    assert response.status_code == 422, response.text
    assert response.headers["content-type"] == "application/problem+json"
    assert compose(sqlite_client, prefix="still there")["prompt"] == "still there"


def test_a_delivery_of_an_unknown_mode_is_refused(database: Database, client: httpx.Client) -> None:
    add(database, {"name": "A"})
    problem = refused(client, {"delivery": {"mode": "pigeon", "params": {"loft": 3}}})
    assert problem["errors"][0]["loc"] == ["body", "delivery", "mode"]
    assert "'pigeon'" in problem["detail"]


def test_a_composition_is_logged_and_no_activity(
    database: Database, client: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    ids = add(database, {"name": "A"}, {"name": "B", "weight": 0})
    with caplog.at_level(logging.INFO, logger="serving.routers.compose"):
        compose(client)
    (record,) = [record for record in caplog.records if record.name == "serving.routers.compose"]
    assert {key: vars(record)[key] for key in ("tokens", "adapter_ids", "warnings")} == {
        "tokens": 2,
        "adapter_ids": ids,
        "warnings": 1,
    }
    with database.read() as connection:
        assert connection.execute(Activity.__table__.select()).all() == []


def test_composing_needs_an_editor(sqlite_database: Database, serve: Callable[..., httpx.Client]) -> None:
    client = serve(sqlite_database, api_keys=KEYS)
    found = {
        secret: client.post("/api/v1/compose", json={}, headers={"X-API-Key": secret}).status_code
        for secret in ("reader-secret", "editor-secret", "admin-secret")
    }
    assert found == {"reader-secret": 403, "editor-secret": 200, "admin-secret": 200}
    assert client.post("/api/v1/compose", json={}).status_code == 401


def test_active_adapters_are_counted_as_lists_count_them(database: Database, client: httpx.Client) -> None:
    add(database, {"name": "A"}, {"name": "B", "active": False})
    with database.read() as connection:
        assert stacks.active_count(connection) == 1
    assert client.get("/api/v1/adapters", params={"active": True}).json()["total"] == 1
