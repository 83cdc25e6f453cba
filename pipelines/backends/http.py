"""Mode `http`: a prompt as JSON to a URL of the client's.

One attempt is one request; which ends are tried again, and when, stands here, and the lane does it. The job's id goes
along in the body and two headers, so that a receiver can tell a repetition: after a crash of ours, or a connection
that broke after the request was sent, nobody else can know whether it arrived.
"""

import asyncio
import contextlib
import random
import re
import socket
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import httpcore
import httpx
import msgspec
from pydantic import BaseModel, ConfigDict, Field, model_validator

from pipelines.backends.addresses import AddressRefused, GuardedNetwork, Policy, literal_of
from warehouse.backends import BackendPlugin, Complaint, Outcome, ParamsError, Progress, no_progress
from warehouse.ids import new_id
from warehouse.jobs import ClaimedJob, JobKind, JobStatus
from warehouse.models import utc_now
from warehouse.models.base import JsonObject
from warehouse.settings import Settings

ATTEMPT_SECONDS = 15.0
TOTAL_SECONDS = 60.0
MAX_ATTEMPTS = 3
CONCURRENCY = 32
MAX_BODY_BYTES = 64 * 1024
"""Of the answer that is kept; the rest is not read."""
_FIRST_PAUSE = 1.0
_MAX_URL = 2048
_KEEP_SECONDS = 20.0
_HOST = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f:.]+(%[A-Za-z0-9._-]+)?")
"""A name, an IPv4 address in any notation, or an IPv6 address with its zone."""
_TRANSIENT = {429, *range(500, 600)}


class HttpParams(BaseModel):
    """The target: a URL, or its parts."""

    model_config = ConfigDict(extra="forbid")

    url: str | None = Field(None, min_length=1, max_length=_MAX_URL, description="An http or https URL.")
    scheme: Literal["http", "https"] = Field("http", description="With `host`.")
    host: str | None = Field(None, min_length=1, max_length=255, description="Name or address, instead of `url`.")
    port: int | None = Field(None, ge=1, le=65535, strict=True, description="With `host`; absent: 80 or 443.")
    path: str = Field("/", max_length=_MAX_URL, description="With `host`, query included.")
    body: dict[str, Any] = Field(default_factory=dict, description="Members of the JSON body beside the prompt.")

    @model_validator(mode="after")
    def _one_target(self) -> "HttpParams":
        if self.url is None and self.host is None:
            raise ValueError("the target is missing: give url, or host with port and path")
        if self.url is not None and self.model_fields_set & {"scheme", "host", "port", "path"}:
            raise ValueError("the target is given twice: give either url, or host with port and path")
        return self


def target_of(params: HttpParams) -> httpx.URL:
    """The URL to call.

    Raises:
        ValueError: it is none, or not one of http; the message says what is wrong.
    """
    try:
        url = httpx.URL(params.url if params.url is not None else _joined(params))
        host = url.raw_host.decode("ascii")
    except (httpx.InvalidURL, UnicodeError, ValueError) as error:
        raise ValueError("is no URL that can be called") from error
    if url.scheme not in ("http", "https"):
        raise ValueError("must begin with http:// or https://")
    if not host:
        raise ValueError("names no host")
    if not _HOST.fullmatch(host):
        raise ValueError("names a host with characters that no host has")
    if url.userinfo:
        raise ValueError("holds a user name or password, which would be shown with the job: leave it away")
    if url.port is not None and not 0 < url.port < 65536:
        raise ValueError("has a port that is none: 1 to 65535")
    return url.copy_with(fragment=None)


def _joined(params: HttpParams) -> str:
    host = params.host or ""
    if any(character in host for character in "/?#@\\") or host != host.strip():
        raise ValueError("is no host")
    if ":" in host and not host.startswith("["):
        host = f"[{host}]"
    port = "" if params.port is None else f":{params.port}"
    path = params.path if params.path.startswith("/") else f"/{params.path}"
    return f"{params.scheme}://{host}{port}{path}"


def check(params: HttpParams, prompt: str, settings: Settings) -> None:  # noqa: ARG001 - the plugin's signature
    """Refuse what can be told from the URL alone; where names lead is seen when they are called.

    Raises:
        ParamsError: see there.
    """
    place = ("url",) if params.url is not None else ("host",)
    try:
        host = target_of(params).raw_host.decode("ascii")
    except ValueError as error:
        raise ParamsError([Complaint(place, str(error))]) from error
    address = literal_of("127.0.0.1" if host == "localhost" else host)
    reason = Policy.of(settings).refusal(host, address) if address is not None else None
    if reason is not None:
        raise ParamsError([Complaint(place, reason, "target_refused")])


class _Connections:
    """Connections that are kept for the next request to their origin, the last used first.

    httpcore's own pool looks at every connection, with a system call each, for every request: with 32 of them that was
    half of what a delivery cost.
    """

    def __init__(self, network: httpcore.AsyncNetworkBackend) -> None:
        self._network, self._ssl = network, httpx.create_ssl_context()
        self._idle: list[tuple[httpcore.Origin, httpcore.AsyncHTTPConnection]] = []

    @contextlib.asynccontextmanager
    async def connection(self, origin: httpcore.Origin) -> AsyncIterator[httpcore.AsyncHTTPConnection]:
        """A connection for one request at a time."""
        connection = await self._take(origin)
        try:
            yield connection
        finally:
            if connection.is_idle() and not connection.is_closed():
                self._idle.append((origin, connection))
                if len(self._idle) > CONCURRENCY:
                    await self._idle.pop(0)[1].aclose()
            else:
                await connection.aclose()

    async def _take(self, origin: httpcore.Origin) -> httpcore.AsyncHTTPConnection:
        for position in reversed(range(len(self._idle))):
            if self._idle[position][0] == origin:
                _, connection = self._idle.pop(position)
                if not connection.has_expired():
                    return connection
                await connection.aclose()
                return await self._take(origin)
        return httpcore.AsyncHTTPConnection(
            origin,
            ssl_context=self._ssl,
            keepalive_expiry=_KEEP_SECONDS,
            network_backend=self._network,
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        )

    async def close(self) -> None:
        """Close what is kept."""
        idle, self._idle = self._idle, []
        for _, connection in idle:
            await connection.aclose()


class HttpBackend:
    """Connections to targets, shared by the jobs of a lane."""

    def __init__(self, settings: Settings) -> None:
        self._connections = _Connections(GuardedNetwork(Policy.of(settings)))

    async def submit(self, job: ClaimedJob) -> "_Request":
        """Send the request of a job."""
        return _Request(self._connections, job)

    async def close(self) -> None:
        """Close the connections."""
        await self._connections.close()


class _Request:
    """One request and its answer."""

    def __init__(self, connections: _Connections, job: ClaimedJob) -> None:
        self._connections, self._job = connections, job
        self._sent = self._is_interrupted = False
        self._task = asyncio.create_task(self._attempt())

    @property
    def id(self) -> str:
        """The job's own."""
        return self._job.id

    def events(self) -> AsyncIterator[Progress]:
        """None: a request has no middle."""
        return no_progress()

    async def result(self) -> Outcome:
        """The outcome of the request."""
        try:
            return await asyncio.shield(self._task)
        except asyncio.CancelledError:
            if not self._is_interrupted:
                # The lane itself is stopped: the job is not cancelled, it waits for the next run.
                self._task.cancel()
                raise
            known = "it was sent already, and may have taken effect" if self._sent else "nothing was sent"
            return Outcome(JobStatus.CANCELLED, error=f"cancelled; {known}")

    async def interrupt(self) -> None:
        """Drop the connection."""
        self._is_interrupted = True
        self._task.cancel()

    async def _attempt(self) -> Outcome:
        elapsed = (utc_now() - self._job.started_at).total_seconds()
        # An attempt that comes after a crash of ours, perhaps minutes later, has its full time.
        seconds = (
            min(ATTEMPT_SECONDS, max(1.0, TOTAL_SECONDS - elapsed)) if elapsed < TOTAL_SECONDS else ATTEMPT_SECONDS
        )
        try:
            async with asyncio.timeout(seconds):
                return await self._exchange(seconds)
        except AddressRefused as error:
            return Outcome(JobStatus.FAILED, error=str(error))
        except (TimeoutError, httpcore.ReadTimeout):
            if self._sent:
                return Outcome(
                    JobStatus.FAILED,
                    error=f"no answer within {seconds:.0f} s; not sent again, for the target may have taken it",
                )
            return self._again(f"no connection within {seconds:.0f} s")
        except (httpcore.NetworkError, httpcore.TimeoutException, httpcore.RemoteProtocolError) as error:
            return self._again(f"the connection failed: {_words(error)}")
        except (httpcore.ProtocolError, httpcore.UnsupportedProtocol) as error:
            return Outcome(JobStatus.FAILED, error=f"the request could not be made: {_words(error)}")

    async def _exchange(self, seconds: float) -> Outcome:
        params = HttpParams.model_validate(self._job.params)
        url = target_of(params)
        content = msgspec.json.encode(
            {**params.body, "prompt": self._job.prompt, "delivery_id": self._job.id, "attempt": self._job.attempts}
        )
        headers = [
            (b"Host", url.netloc),
            (b"Content-Type", b"application/json"),
            (b"Content-Length", str(len(content)).encode()),
            (b"Accept", b"*/*"),
            (b"User-Agent", b"lora-manager"),
            (b"Idempotency-Key", self._job.id.encode()),
            (b"X-Delivery-ID", self._job.id.encode()),
            (b"X-Request-ID", new_id().encode()),
        ]
        limits = dict.fromkeys(("connect", "read", "write", "pool"), seconds)
        request = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path or b"/")
        extensions = {"timeout": limits, "trace": self._trace}
        async with (
            self._connections.connection(request.origin) as connection,
            connection.stream("POST", request, headers=headers, content=content, extensions=extensions) as answer,
        ):
            body, is_whole = await _bounded(answer)
            return self._judge(answer, body, is_whole)

    async def _trace(self, name: str, _info: Any) -> None:
        self._sent = self._sent or name.endswith("send_request_headers.started")

    def _judge(self, answer: httpcore.Response, body: bytes, is_whole: bool) -> Outcome:
        headers = {name.lower(): value.decode("latin-1") for name, value in answer.headers}
        result: JsonObject = {
            "status": answer.status,
            "body": body.decode("utf-8", "replace").replace("\x00", "\ufffd"),
            "content_type": headers.get(b"content-type"),
            "truncated": not is_whole,
        }
        if 200 <= answer.status < 300:
            return Outcome(JobStatus.SUCCEEDED, result)
        if answer.status in _TRANSIENT:
            pause = _retry_after(headers.get(b"retry-after")) if answer.status in (429, 503) else None
            return self._again(f"the target answered {answer.status}", result, pause)
        if 300 <= answer.status < 400:
            error = f"the target answered {answer.status}, a redirect, and none is followed: name the final address"
            return Outcome(JobStatus.FAILED, result, error)
        return Outcome(JobStatus.FAILED, result, f"the target answered {answer.status}")

    def _again(self, error: str, result: JsonObject | None = None, pause: float | None = None) -> Outcome:
        """Another attempt, if there is one left within the time that a job has for all of them."""
        if pause is None:
            pause = _FIRST_PAUSE * 2 ** (self._job.attempts - 1) * random.uniform(0.8, 1.2)  # noqa: S311
        elapsed = (utc_now() - self._job.started_at).total_seconds()
        if self._job.attempts >= MAX_ATTEMPTS:
            return Outcome(JobStatus.FAILED, result, f"{error}, in attempt {self._job.attempts} of {MAX_ATTEMPTS}")
        if elapsed + pause >= TOTAL_SECONDS:
            return Outcome(
                JobStatus.FAILED,
                result,
                f"{error}; the next attempt, in {pause:.0f} s, is beyond the {TOTAL_SECONDS:.0f} s that all have",
            )
        return Outcome(JobStatus.PENDING, result, error, retry_in=pause)


async def _bounded(answer: httpcore.Response) -> tuple[bytes, bool]:
    """The beginning of a body, and whether that is all of it."""
    body = bytearray()
    async with contextlib.aclosing(answer.aiter_stream()) as stream:  # type: ignore[type-var]
        async for chunk in stream:
            body += chunk
            if len(body) > MAX_BODY_BYTES:
                return bytes(body[:MAX_BODY_BYTES]), False
    return bytes(body), True


def _retry_after(value: str | None) -> float | None:
    """Seconds that a target asks to wait; None where it does not say so in a form of RFC 9110."""
    if value is None:
        return None
    text = value.strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    return max(0.0, (moment.replace(tzinfo=moment.tzinfo or UTC) - datetime.now(UTC)).total_seconds())


def _words(error: Exception) -> str:
    return str(error) or type(error).__name__


PLUGIN = BackendPlugin(
    name="http",
    description="POSTs the prompt as JSON to a URL.",
    kind=JobKind.DELIVERY,
    params=HttpParams,
    open=HttpBackend,
    check=check,
    concurrency=CONCURRENCY,
    max_attempts=MAX_ATTEMPTS,
)
