"""Traces by OpenTelemetry, for those who set a collector: a span for each request and one for each of its statements.

Belongs here: everything that touches OpenTelemetry, which is an extra (`otel`) and is imported only when it is used.
Does not: metrics and logs, which are there without it; a span names the request id that leads to the log.

The provider is the application's own and not the process's, so that several applications and their tests do not meet.
The SDK reads its further variables (OTEL_SERVICE_NAME, OTEL_EXPORTER_OTLP_HEADERS, OTEL_TRACES_SAMPLER, …) itself.
"""

import time
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving.metrics import template_of
from serving.version import VERSION
from warehouse.settings import Settings
from warehouse.statements import Kind

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_SERVICE = "lora-manager"
_PATH = "/v1/traces"
_SERVER_ERROR = 500


class TracingError(RuntimeError):
    """Traces are wanted and cannot be made. The message says what to do."""


def open_provider(settings: Settings) -> "TracerProvider | None":
    """What makes spans and sends them to the collector of the settings; None where there is none.

    Raises:
        TracingError: the extra is not installed.
    """
    if not settings.otlp_endpoint:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise TracingError(
            "LORA_MANAGER_OTLP_ENDPOINT is set, but OpenTelemetry is not installed: "
            "pip install 'lora-manager-backend[otel]', or unset it"
        ) from error
    resource = Resource.create({"service.name": _SERVICE, "service.version": VERSION})
    provider = TracerProvider(resource=resource)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(endpoint=settings.otlp_endpoint + _PATH)))
    return provider


class Tracing:
    """ASGI middleware that makes a span of each request, below the caller's where it sent a `traceparent`."""

    def __init__(self, app: ASGIApp, provider: "TracerProvider") -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._app = app
        self._tracer = provider.get_tracer(_SERVICE, VERSION)
        self._propagator = TraceContextTextMapPropagator()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        from opentelemetry.trace import SpanKind, StatusCode

        carrier = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        above = self._propagator.extract(carrier)
        method = scope["method"]
        with self._tracer.start_as_current_span(method, above, SpanKind.SERVER) as span:
            span.set_attribute("http.request.method", method)
            span.set_attribute("url.path", scope["path"])
            span.set_attribute("url.scheme", scope["scheme"])
            span.set_attribute("lora_manager.request_id", scope["state"]["request_id"])

            async def watched(message: Message) -> None:
                if message["type"] == "http.response.start":
                    span.set_attribute("http.response.status_code", message["status"])
                    if message["status"] >= _SERVER_ERROR:
                        span.set_status(StatusCode.ERROR)
                await send(message)

            await self._app(scope, receive, watched)
            template = template_of(scope)
            span.update_name(f"{method} {template}")
            span.set_attribute("http.route", template)


class StatementSpans:
    """Makes a span of each statement that was executed, below that of its request."""

    def __init__(self, provider: "TracerProvider", system: str) -> None:
        self._tracer = provider.get_tracer(_SERVICE, VERSION)
        self._system = system

    def __call__(self, kind: Kind, nanoseconds: int) -> None:
        """Note a statement that ended now."""
        from opentelemetry.trace import SpanKind

        ended = time.time_ns()
        span = self._tracer.start_span(
            f"{kind.verb} {kind.table}",
            kind=SpanKind.CLIENT,
            start_time=ended - nanoseconds,
            attributes={"db.system.name": self._system, "db.query.summary": f"{kind.verb} {kind.table}"},
        )
        span.end(ended)
