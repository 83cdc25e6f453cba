"""The OpenAPI document: what the framework derives, with our errors and keys in place of its own.

Does not belong here: the examples of models (`schemas`) and the page that shows the document (`web`).
"""

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from serving.problems import ProblemDetails, documented

_DESCRIPTION = """
Ask a library of LoRA adapters: list and search it, find what is similar, get recommendations for a prompt; compose
the prompt of those in use, deliver it, and generate with it; and change it: register, edit, activate, tag and delete
adapters.

Errors are [problem details](https://www.rfc-editor.org/rfc/rfc9457) (`application/problem+json`). Times are RFC 3339
with a zone, ids are UUIDs, null is "unknown". Every answer carries `X-Request-ID`; send your own to find it in the log.
Where API keys are configured, send one as `X-API-Key` or as a bearer token.
"""

_TAGS = [
    {"name": "adapters", "description": "The adapters of the library."},
    {"name": "compose", "description": "The prompt of the adapters in use."},
    {"name": "deliveries", "description": "Prompts to targets."},
    {"name": "generation", "description": "Pictures by backends that generate, and what became of each."},
    {"name": "recommendations", "description": "What is similar, and what fits a prompt."},
    {"name": "dashboard", "description": "The library at a glance."},
    {"name": "audit", "description": "Who changed what."},
    {"name": "analytics", "description": "The published tables in SQL, and what happened over time."},
    {"name": "system", "description": "Whether the service is well."},
]

_SECURITY_SCHEMES = {
    "ApiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
    "Bearer": {"type": "http", "scheme": "bearer"},
}


def _problem_schemas() -> dict[str, Any]:
    schema = ProblemDetails.model_json_schema(ref_template="#/components/schemas/{model}")
    nested: dict[str, Any] = schema.pop("$defs")
    return {**nested, "ProblemDetails": schema}


def _replace_validation_errors(operation: dict[str, Any]) -> None:
    answer = operation["responses"].get("422", {})
    if "HTTPValidationError" in str(answer):
        operation["responses"]["422"] = documented(422)[422]


def _models(base: type[BaseModel] = BaseModel) -> Iterator[type[BaseModel]]:
    for model in base.__subclasses__():
        if model.__module__.startswith("serving."):
            yield model
        yield from _models(model)


def _restore_examples(schemas: dict[str, Any]) -> None:
    """Put the models' examples back as they are written: the framework drops every null in them, required or not."""
    for model in _models():
        schema = schemas.get(model.__name__, {})
        if "examples" in schema:
            schema["examples"] = model.model_json_schema()["examples"]


def _build(app: FastAPI) -> dict[str, Any]:
    document = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description=_DESCRIPTION.strip(),
        routes=app.routes,
        tags=_TAGS,
    )
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    _restore_examples(schemas)
    schemas.update(_problem_schemas())
    components["securitySchemes"] = _SECURITY_SCHEMES
    for path, operations in document["paths"].items():
        for operation in operations.values():
            _replace_validation_errors(operation)
            if "requestBody" in operation:
                # Bodies are bounded before any handler sees them.
                operation["responses"].setdefault("413", documented(413)[413])
            public = path.startswith("/health")
            operation["security"] = [] if public else [{name: []} for name in _SECURITY_SCHEMES]
    return document


def install(app: FastAPI) -> None:
    """Make the document the application's own; it is built when it is first asked for."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _build(app)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]
