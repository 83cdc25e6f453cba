"""The OpenAPI document: complete, with examples that are what the models say, and nothing that is not served."""

import json
import re
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, get_args

import httpx
import pytest
from pydantic import BaseModel

from serving import schemas
from serving.app import create_app
from warehouse.settings import Settings


@pytest.fixture
def document(settings: Settings) -> dict[str, Any]:
    return create_app(settings).openapi()


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    ]


def success_of(operation: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """The one answer of an operation that did what it should: its status, and what is said of it."""
    partial = "206"
    answers = operation["responses"].items()
    (found,) = [(status, answer) for status, answer in answers if status.startswith("2") and status != partial]
    return found


def test_every_operation_is_described(document: dict[str, Any]) -> None:
    ids = []
    for path, method, operation in operations(document):
        where = f"{method} {path}"
        assert len(operation["summary"]) > 5, where
        assert len(operation["description"]) > 20, where
        assert re.fullmatch(r"[a-z]+(_[a-z]+)+", operation["operationId"]), where
        assert operation["tags"], where
        ids.append(operation["operationId"])
        for parameter in operation.get("parameters", []):
            assert parameter.get("description") or parameter["schema"].get("description"), (where, parameter["name"])
    assert len(ids) == len(set(ids)) > 10


def test_every_operation_documents_its_answers_and_problems(document: dict[str, Any]) -> None:
    for path, method, operation in operations(document):
        answers = operation["responses"]
        status, success = success_of(operation)
        assert success.get("content") or status == "204", (method, path)
        if path.startswith("/health"):
            continue
        assert {"401", "403", "500"} <= answers.keys(), (method, path)
        for status, answer in answers.items():
            if int(status) >= 400:
                assert list(answer["content"]) == ["application/problem+json"], (method, path, status)
        if "{" in path:
            assert "404" in answers, (method, path)


def test_every_model_that_answers_has_an_example_that_it_accepts(document: dict[str, Any]) -> None:
    modules = [import_module(f"serving.schemas.{found.name}") for found in iter_modules(schemas.__path__)]
    models = {name: model for module in modules for name, model in vars(module).items() if _is_model(model)}
    for name in document["components"]["schemas"].keys() & models.keys():
        for example in models[name].model_json_schema().get("examples", []):
            models[name].model_validate(example)
    for path, method, operation in operations(document):
        schema = success_of(operation)[1].get("content", {}).get("application/json", {}).get("schema", {})
        name = schema.get("items", schema).get("$ref", "").rpartition("/")[2]
        assert not name or _shows_an_example(models[name]), (method, path, name)
        body = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
        for reference in re.findall(r"#/components/schemas/(\w+)", json.dumps(body)):
            assert _shows_an_example(models[reference]), (method, path, reference)


def _is_model(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseModel)


def _shows_an_example(model: type[BaseModel]) -> bool:
    """Whether the model, or every model it is made of, has one."""
    if model.model_json_schema().get("examples"):
        return True
    nested = [field.annotation for field in model.model_fields.values()]
    return any(_is_model(each) or (get_args(each) and _is_model(get_args(each)[0])) for each in nested)


def test_references_lead_somewhere(document: dict[str, Any]) -> None:
    references = set(re.findall(r'"#/components/schemas/(\w+)"', json.dumps(document)))
    assert references <= document["components"]["schemas"].keys()
    assert "HTTPValidationError" not in json.dumps(document)


def test_aliases_stay_out(document: dict[str, Any]) -> None:
    assert all(path.startswith(("/api/v1/", "/health")) for path in document["paths"])


def test_it_is_served(sqlite_client: httpx.Client) -> None:
    response = sqlite_client.get("/openapi.json")
    assert response.json()["openapi"].startswith("3.")
    page = sqlite_client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
