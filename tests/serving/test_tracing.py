"""Traces: a span of each request, its statements below it, and a clear message without the extra."""

import builtins
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from serving import app, tracing
from serving.tracing import TracingError, open_provider
from warehouse.engine import Database
from warehouse.settings import Settings


def test_a_request_is_a_span_with_its_statements_below(
    database: Database, serve: Callable[..., httpx.Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(app, "open_provider", lambda _: provider)
    client = serve(database)
    parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    response = client.get("/api/v1/adapters?q=private", headers={"traceparent": parent})
    assert response.status_code == 200
    spans = exporter.get_finished_spans()
    (request,) = [span for span in spans if span.name == "GET /api/v1/adapters"]
    attributes: dict[str, Any] = dict(request.attributes or {})
    assert attributes["http.route"] == "/api/v1/adapters"
    assert attributes["http.response.status_code"] == 200
    assert attributes["lora_manager.request_id"] == response.headers["x-request-id"]
    assert f"{request.context.trace_id:032x}" in parent
    below = [span for span in spans if span.parent and span.parent.span_id == request.context.span_id]
    assert "select facet_counts" in {span.name for span in below}
    assert "private" not in "".join(span.to_json() for span in spans)


def test_without_a_collector_nothing_is_traced(settings: Settings) -> None:
    assert open_provider(settings) is None


def test_a_collector_gets_traces_over_http(settings: Settings) -> None:
    provider = open_provider(settings.model_copy(update={"otlp_endpoint": "http://127.0.0.1:9"}))
    assert provider is not None
    assert provider.resource.attributes["service.name"] == "lora-manager"
    provider.shutdown()


def test_without_the_extra_it_is_said_what_to_install(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *arguments: Any, **options: Any) -> Any:
        if name.startswith(("opentelemetry.sdk", "opentelemetry.exporter")):
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(TracingError, match=r"lora-manager-backend\[otel\]"):
        tracing.open_provider(settings.model_copy(update={"otlp_endpoint": "http://127.0.0.1:9"}))
