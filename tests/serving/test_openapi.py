"""The OpenAPI document: complete, closed, with examples that are what the schemas say, and nothing that is not served.

The rules hold for every operation there is; none is named here.
"""

import re
from collections.abc import Iterator
from typing import Any

import httpx
import jsonschema_rs
import pytest

from serving.app import create_app
from warehouse.settings import Settings

OPEN_BODIES = re.compile(r"Generat|Delivery")
"""Schemas of request bodies that may hold unknown fields: generation parameters pass through to the backend, and those
of a delivery may stand beside its mode."""

Operation = tuple[str, dict[str, Any]]


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    settings = Settings(_env_file=None, data_dir=tmp_path_factory.mktemp("data"))  # type: ignore[call-arg]
    return create_app(settings).openapi()


def operations(document: dict[str, Any]) -> list[Operation]:
    """("METHOD path", operation) of everything there is."""
    return [
        (f"{method.upper()} {path}", operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def successes(operation: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The content of its answers that are no errors, by media type."""
    answers = [answer for status, answer in operation["responses"].items() if status.startswith("2")]
    return {media_type: body for answer in answers for media_type, body in answer.get("content", {}).items()}


def bodies(operation: dict[str, Any]) -> list[dict[str, Any]]:
    """The schemas of its JSON bodies."""
    content = operation.get("requestBody", {}).get("content", {})
    return [body["schema"] for media_type, body in content.items() if media_type == "application/json"]


def resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """The schema that a reference leads to, else the schema itself."""
    name = schema.get("$ref", "").rpartition("/")[2]
    found: dict[str, Any] = document["components"]["schemas"][name] if name else schema
    return found


def reachable(document: dict[str, Any], schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, schema) of every object that a schema is made of."""
    names, waiting = set(), [schema]
    while waiting:
        nested = waiting.pop()
        for reference in re.findall(r"'#/components/schemas/([^']+)'", str(nested)):
            if reference not in names:
                names.add(reference)
                waiting.append(document["components"]["schemas"][reference])
    yield from ((name, document["components"]["schemas"][name]) for name in names)
    if "properties" in schema:
        yield schema.get("title", ""), schema


def has_example(document: dict[str, Any], body: dict[str, Any]) -> bool:
    """Whether a body or answer shows an example, at the media type or in its schema or that of its items."""
    schema = body.get("schema", {})
    # One of several: a body that may be absent is its schema or null.
    shown = [resolved(document, each) for each in schema.get("anyOf", [schema])]
    of_items = [resolved(document, each["items"]) for each in shown if "items" in each]
    return any(each.get(key) for each in (body, *shown, *of_items) for key in ("example", "examples"))


def test_every_operation_is_described(document: dict[str, Any]) -> None:
    for where, operation in operations(document):
        assert len(operation["summary"]) > 5, where
        assert len(operation["description"]) > 20, where
        assert operation["tags"], where
        for parameter in operation.get("parameters", []):
            assert parameter.get("description") or parameter["schema"].get("description"), (where, parameter["name"])
    known = {tag["name"] for tag in document["tags"] if tag["description"]}
    assert {tag for _, operation in operations(document) for tag in operation["tags"]} <= known


def test_operation_ids_are_method_names(document: dict[str, Any]) -> None:
    """A client generator makes methods of them: a verb first, unique however it changes their case."""
    ids = [operation["operationId"] for _, operation in operations(document)]
    for each in ids:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)+", each), each
        assert not re.search(r"_(get|post|put|patch|delete)$", each), each
    assert len({each.replace("_", "") for each in ids}) == len(ids) > 10


def test_schemas_have_plain_names(document: dict[str, Any]) -> None:
    """A client generator makes types of them: none is told apart from another by the module it comes from."""
    for name in document["components"]["schemas"]:
        assert re.fullmatch(r"[A-Z][A-Za-z0-9]*(_[A-Za-z0-9]+_)?", name), name


def test_every_operation_documents_its_answers(document: dict[str, Any]) -> None:
    for where, operation in operations(document):
        answers = operation["responses"]
        found = [status for status in answers if status.startswith("2")]
        assert found, where
        if found != ["204"]:
            assert successes(operation), where
        for status, answer in answers.items():
            assert answer["description"], (where, status)


def test_every_operation_documents_its_problems(document: dict[str, Any]) -> None:
    for where, operation in operations(document):
        answers = operation["responses"]
        if " /health" in where:
            continue
        assert {"401", "403", "500"} <= answers.keys(), where
        for status, answer in answers.items():
            if int(status) >= 400:
                assert list(answer["content"]) == ["application/problem+json"], (where, status)
        if "{" in where:
            assert "404" in answers, where
        places = {parameter["in"] for parameter in operation.get("parameters", [])}
        if "requestBody" in operation:
            assert {"413", "422"} <= answers.keys(), where
        if "query" in places and not where.endswith("/preview"):  # whose signature stands for a key: a wrong one is 401
            assert "422" in answers, where


def test_every_body_and_answer_has_an_example(document: dict[str, Any]) -> None:
    for where, operation in operations(document):
        for schema in bodies(operation):
            assert has_example(document, {"schema": schema}), where
        answer = successes(operation).get("application/json")
        assert answer is None or has_example(document, answer), where


def test_examples_are_what_their_schemas_say(document: dict[str, Any]) -> None:
    checked = 0
    for name, schema in document["components"]["schemas"].items():
        # The whole document is the root, so that references lead somewhere.
        validator = jsonschema_rs.Draft202012Validator({**document, "$ref": f"#/components/schemas/{name}"})
        for example in schema.get("examples", []):
            errors = [f"{error.instance_path}: {error.message}" for error in validator.iter_errors(example)]
            assert not errors, (name, errors)
            checked += 1
    assert checked > 10


def test_bodies_are_closed(document: dict[str, Any]) -> None:
    """Unknown body fields are a 422, at every depth, and generated clients know it."""
    for where, operation in operations(document):
        for schema in bodies(operation):
            for name, nested in reachable(document, schema):
                if "properties" in nested and not OPEN_BODIES.search(name):
                    assert nested.get("additionalProperties") is False, (where, name)


def test_texts_and_lists_of_bodies_are_bounded(document: dict[str, Any]) -> None:
    """What a client may send has an end that the document tells."""
    for where, operation in operations(document):
        for schema in bodies(operation):
            for name, nested in reachable(document, schema):
                for field, content in nested.get("properties", {}).items():
                    for kind in content.get("anyOf", [content]):
                        plain = not {"enum", "const", "format", "pattern"} & kind.keys()
                        if kind.get("type") == "string" and plain:
                            assert "maxLength" in kind, (where, name, field)
                        if kind.get("type") == "array":
                            assert "maxItems" in kind, (where, name, field)


def test_references_lead_somewhere(document: dict[str, Any]) -> None:
    references = set(re.findall(r"'#/components/schemas/([^']+)'", str(document)))
    assert references == document["components"]["schemas"].keys(), "a reference to nothing, or a schema of nothing"
    assert "HTTPValidationError" not in str(document)


def test_keys_are_declared_where_they_are_needed(document: dict[str, Any]) -> None:
    for where, operation in operations(document):
        assert bool(operation["security"]) is (" /health" not in where), where


def test_aliases_stay_out(document: dict[str, Any]) -> None:
    assert all(path.startswith(("/api/v1/", "/health")) for path in document["paths"])


def test_it_is_served(sqlite_client: httpx.Client) -> None:
    response = sqlite_client.get("/openapi.json")
    assert response.json()["openapi"].startswith("3.")
    page = sqlite_client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
