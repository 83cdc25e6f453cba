"""The application: assembles routers, middleware and services. `uvicorn serving.app:app` serves it.

Belongs here: assembly, start and stop. Does not: anything that answers. Importing this module opens nothing and pulls
in no torch, transformers, faiss or onnxruntime; `app` is made when it is first asked for.
"""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING

from fastapi import APIRouter, FastAPI
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import BaseRoute

from serving import logs, problems, web
from serving.addresses import AddressGuard
from serving.analysts import Analysts
from serving.answer_cache import AnswerCache
from serving.backends import Backends
from serving.deps import Services
from serving.documentation import install as install_documentation
from serving.embedding import Embedder
from serving.figures import Figures
from serving.live import Hub, Room, Texts
from serving.machine import Machine
from serving.metrics import Metrics
from serving.middleware import REQUEST_ID, BodyLimit, HeadAsGet, PlainErrors, RequestContext, UnexpectedErrors
from serving.orchestrator import Orchestrator
from serving.recommender import SharedRecommender
from serving.results import Results
from serving.routers import (
    adapters,
    analytics,
    audit,
    compose,
    dashboard,
    deliveries,
    generation,
    live,
    metrics,
    recommendations,
    results,
    system,
)
from serving.runs import LaneRuns
from serving.security import Authentication
from serving.signing import Signer, open_signer
from serving.tracing import StatementSpans, Tracing, TracingError, open_provider
from serving.version import VERSION
from warehouse import migrations
from warehouse.engine import Database, open_database
from warehouse.lexical.searching import LexicalSearcher
from warehouse.pictures import PictureStore
from warehouse.settings import Settings, get_settings
from warehouse.statements import observe

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

_PARTS = (
    adapters,
    compose,
    deliveries,
    generation,
    results,
    live,
    recommendations,
    dashboard,
    analytics,
    audit,
    system,
)
"""What stands below /api/v1."""

_log = logging.getLogger(__name__)


def create_app(settings: Settings | None = None) -> FastAPI:
    """An application on the given settings, or on those of the environment."""
    settings = settings or get_settings()
    # Before the server starts, so that its own first lines are structured too.
    logs.configure(settings.log_level, settings.log_format)
    signer = open_signer(settings)
    counted = Metrics()
    provider = _open_provider(settings)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        database = open_database(settings, wait_seconds=settings.database_wait_seconds)
        _require_schema(database)
        spans = StatementSpans(provider, database.engine.dialect.name) if provider else None
        statements = observe(database.engine, slow_seconds=settings.slow_statement_ms / 1000, executed=spans)
        orchestrator = Orchestrator(settings)
        pictures = PictureStore(settings.pictures_dir)
        results = Results(database, pictures, signer)
        services = Services(
            settings=settings,
            database=database,
            signer=signer,
            recommender=SharedRecommender(database, settings),
            words=LexicalSearcher(database, settings),
            orchestrator=orchestrator,
            figures=Figures(database, settings),
            machine=Machine(),
            analysts=Analysts(database, settings),
            metrics=counted,
            answers=AnswerCache(database, settings),
            embedder=Embedder(database, settings, orchestrator),
            hub=Hub(database),
            texts=Texts(database, results),
            room=Room(),
            pictures=pictures,
            results=results,
            runs=LaneRuns(database, orchestrator),
            backends=Backends(settings),
        )
        counted.watch(database, statements, services.recommender)
        app.state.services = services
        services.recommender.start()
        services.machine.start()
        services.answers.start()
        if not settings.api_keys:
            _log.warning("no API keys are configured: whoever reaches this address may do everything")
            if "*" in settings.cors_origins:
                _log.warning("every origin is allowed and there are no keys: any web page can drive this service")
        try:
            yield
        finally:
            services.recommender.stop()
            services.analysts.close()
            services.answers.stop()
            await services.hub.close()
            await services.runs.close()
            await services.orchestrator.close()
            database.dispose()
            if provider:
                provider.shutdown()

    app = FastAPI(
        title="LoRA Manager",
        version=VERSION,
        summary="Ask a library of LoRA adapters.",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        openapi_url="/openapi.json",
        routes=list(_routes()),
    )
    problems.install(app)
    _add_middleware(app, settings, signer, counted, provider)
    install_documentation(app)
    web.install(app)
    return app


def _require_schema(database: Database) -> None:
    try:
        migrations.require_head(database)
    except migrations.SchemaError as error:
        # One line with the remedy, before the server adds its trace.
        _log.critical("not started: %s", error)
        raise


def _open_provider(settings: Settings) -> "TracerProvider | None":
    try:
        return open_provider(settings)
    except TracingError as error:
        # One line with the remedy, before the server adds its trace.
        _log.critical("not started: %s", error)
        raise


def _add_middleware(
    app: FastAPI, settings: Settings, signer: Signer, counted: Metrics, provider: "TracerProvider | None"
) -> None:
    # The last one added is the outermost: id and log, who may come at all, the wording of errors, CORS (so that errors
    # carry its headers too), errors, keys, then what may touch a request only once its key is known.
    app.add_middleware(HeadAsGet)
    app.add_middleware(BodyLimit)
    app.add_middleware(Authentication, settings=settings, signer=signer)
    app.add_middleware(UnexpectedErrors)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=settings.cors_origins,
        # With "*" the middleware would reflect any origin beside credentials.
        allow_credentials="*" not in settings.cors_origins,
        allow_methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=["Authorization", "Content-Type", "Idempotency-Key", "X-API-Key", REQUEST_ID],
        expose_headers=[REQUEST_ID, "Location", "RateLimit", "RateLimit-Policy", "Retry-After"],
        max_age=600,
    )
    app.add_middleware(PlainErrors)
    app.add_middleware(AddressGuard, settings=settings)
    if provider:
        app.add_middleware(Tracing, provider=provider)
    app.add_middleware(RequestContext, metrics=counted)


@cache
def _routes() -> tuple[BaseRoute, ...]:
    """The routes of every application. They hold nothing of a single one, and deriving them takes a quarter second."""
    root = APIRouter()
    # The router looks at one after the other, and this is asked every few seconds.
    root.include_router(system.health)
    v1 = APIRouter(prefix="/api/v1")
    for part in _PARTS:
        v1.include_router(part.router)
    root.include_router(v1)
    aliases = APIRouter(prefix="/api", include_in_schema=False)
    for router in (recommendations.router, dashboard.router):
        aliases.include_router(router)
    root.include_router(aliases)
    root.include_router(metrics.router)
    for prefix in ("", "/api", "/api/v1", "/api/v1/generation"):
        root.include_router(live.websockets, prefix=prefix)
    return tuple(root.routes)


def __getattr__(name: str) -> FastAPI:
    # Made on request, so that importing this module reads no settings and creates no file.
    if name == "app":
        return create_app()
    raise AttributeError(name)
