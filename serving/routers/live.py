"""`/ws/progress` and the Server-Sent Events of one job: what happens to jobs, as it happens."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator
from typing import Annotated, Any, Final, NamedTuple

import msgspec
from fastapi import APIRouter, Header, Path, Query, WebSocket
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import Response, StreamingResponse
from sqlalchemy.exc import SQLAlchemyError
from starlette.websockets import WebSocketDisconnect, WebSocketState

from serving import problems
from serving.deps import Services, ServicesDep
from serving.live import Listener, Room, TooSlowError
from serving.live.messages import PING_SECONDS, Message, Translator
from serving.version import VERSION
from warehouse.jobs import JobStatus
from warehouse.models import utc_now
from warehouse.queries import jobs

websockets = APIRouter()
router = APIRouter(prefix="/generation", tags=["generation"])

_SEND_SECONDS: Final = 20.0
"""A connection that takes no message for so long is not read by anybody."""
_SLOWEST: Final = 256 * 2**10
"""Bytes a second that a connection must take of a large message."""
_MAX_MESSAGE: Final = 2**20
_TRY_AGAIN, _TOO_BIG = 1013, 1009
_NO_DATABASE: Final = "the database does not answer: connect again in a while"
_log = logging.getLogger(__name__)


class Subscribe(msgspec.Struct, tag="subscribe", forbid_unknown_fields=True):
    """Wait for jobs; null: for all. With `after`, first what happened since that event."""

    job_ids: list[str] | None = None
    after: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)] | None = None


class Unsubscribe(msgspec.Struct, tag="unsubscribe", forbid_unknown_fields=True):
    """Wait for jobs no longer; null: for none."""

    job_ids: list[str] | None = None


class Pong(msgspec.Struct, tag="pong"):
    """Some clients answer a ping; nothing is expected."""


_decoder: msgspec.json.Decoder[Subscribe | Unsubscribe | Pong] = msgspec.json.Decoder(Subscribe | Unsubscribe | Pong)


@websockets.websocket("/ws/progress")
async def follow_progress(socket: WebSocket) -> None:
    """Every message about jobs; see the page about live progress."""
    services: Services = socket.app.state.services
    await socket.accept()
    try:
        async with services.hub.listening() as listener:
            connection = _Connection(socket, services, listener)
            with contextlib.suppress(WebSocketDisconnect, RuntimeError):
                await connection.run()
    except SQLAlchemyError as error:
        _log.error("progress cannot be followed: %s", type(error).__name__)
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            await socket.close(_TRY_AGAIN, _NO_DATABASE)


class _Answer(NamedTuple):
    """What something that the client said is answered with."""

    message: Message
    after: int | None = None
    """The event since when it wants to be told what happened, behind the message."""


class _Connection:
    """One WebSocket: a task that reads what the client says, and one that writes, to which everything is handed."""

    def __init__(self, socket: WebSocket, services: Services, listener: Listener) -> None:
        self._socket = socket
        self._services = services
        self._listener = listener
        self._asked: asyncio.Queue[_Answer] = asyncio.Queue(maxsize=100)

    async def run(self) -> None:
        """Serve it until either side ends it."""
        reading, writing = asyncio.create_task(self._read()), asyncio.create_task(self._write())
        try:
            await asyncio.wait({reading, writing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (reading, writing):
                task.cancel()
            await asyncio.gather(reading, writing, return_exceptions=True)

    # What the client says.

    async def _read(self) -> None:
        while True:
            received = await self._socket.receive()
            if received["type"] == "websocket.disconnect":
                return
            text = received.get("text") or received.get("bytes") or b""
            await self._hear(text)

    async def _hear(self, text: str | bytes) -> None:
        try:
            if len(text) > _MAX_MESSAGE:
                raise msgspec.ValidationError("the message is too long")
            said = _decoder.decode(text)
        except (msgspec.DecodeError, UnicodeEncodeError) as error:
            await self._say("error", detail=f"not understood: {error}. Send subscribe or unsubscribe.")
            return
        if isinstance(said, Pong):
            return
        try:
            if isinstance(said, Subscribe):
                waits_for = self._listener.subscribe(said.job_ids)
            else:
                waits_for = self._listener.unsubscribe(said.job_ids)
        except ValueError as error:
            await self._say("error", detail=str(error))
            return
        after = said.after if isinstance(said, Subscribe) else None
        await self._say("subscription_confirmed", after, job_ids=waits_for)

    async def _say(self, kind: str, after: int | None = None, **body: Any) -> None:
        await self._asked.put(_Answer(Message(kind, self._services.hub.position, utc_now(), body), after))
        self._listener.wake()

    # What it is told.

    async def _write(self) -> None:
        hub = self._services.hub
        hello = {"version": VERSION, "ping_seconds": PING_SECONDS}
        await self._send(Message("hello", hub.position, utc_now(), hello))
        try:
            await self._write_until_closed()
        except TooSlowError as error:
            await self._close(_TRY_AGAIN, str(error))
        except SQLAlchemyError as error:
            _log.error("progress cannot be read: %s", type(error).__name__)
            await self._close(_TRY_AGAIN, _NO_DATABASE)
        except TimeoutError:
            await self._close(_TRY_AGAIN, f"nothing was read for {_SEND_SECONDS:.0f} s")

    async def _write_until_closed(self) -> None:
        hub = self._services.hub
        while True:
            while not self._asked.empty():
                await self._answer(self._asked.get_nowait())
            message_or_none = await self._listener.get(PING_SECONDS)
            if message_or_none is not None:
                await self._send(message_or_none)
            elif self._asked.empty():
                await self._send(Message("ping", hub.position, utc_now()))

    async def _answer(self, answer: _Answer) -> None:
        hub = self._services.hub
        # Before the message is sent: the client may count on being told what happens from then on.
        after = None if answer.after is None else await hub.known(answer.after)
        await self._send(answer.message)
        if after is not None:
            async for message in hub.earlier(self._listener, after):
                await self._send(message)

    async def _send(self, message: Message) -> None:
        text = await self._services.texts.of(message)
        if len(text) <= Room.SMALL:
            await asyncio.wait_for(self._socket.send_text(text.decode()), _SEND_SECONDS)
            return
        async with self._services.room.taken(len(text)):
            await asyncio.wait_for(self._socket.send_text(text.decode()), _SEND_SECONDS)
            # A message is sent once those before it were taken: a small one behind it tells that this one was.
            ping = await self._services.texts.of(Message("ping", self._services.hub.position, utc_now()))
            await asyncio.wait_for(self._socket.send_text(ping.decode()), _SEND_SECONDS + len(text) / _SLOWEST)

    async def _close(self, code: int, reason: str) -> None:
        if self._socket.application_state is WebSocketState.CONNECTED:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._socket.close(code, reason[:120]), 1)


# Server-Sent Events --------------------------------------------------------------------------------------------------

_HISTORY: Final = 2_000
"""Events of a job that are told to somebody who comes late: more ticks of the past say nothing."""


@router.get(
    "/jobs/{job_id}/events",
    summary="Follow one job as Server-Sent Events",
    operation_id="follow_generation_job",
    response_class=StreamingResponse,
    responses={
        200: {
            "description": "Events with the messages of the WebSocket as data and their `seq` as id, from the "
            "beginning or from `after` on; the stream ends with the job.",
            "content": {"text/event-stream": {"schema": {"type": "string"}}},
        },
        **problems.documented(404, 422),
    },
)
async def follow_job(
    services: ServicesDep,
    job_id: Annotated[str, Path(description="The job's id.")],
    after: Annotated[int, Query(ge=0, lt=2**63, description="Go on behind this `seq`.")] = 0,
    last_event_id: Annotated[
        str | None, Header(max_length=32, description="The same, as browsers send it when they connect again.")
    ] = None,
) -> Response:
    """Progress and the end of a job, for clients that have no WebSocket. Reconnecting goes on without a gap."""
    row = await run_in_threadpool(_job, services, problems.canonical_id("job", job_id))
    if row is None:
        raise problems.not_found("job", job_id)
    start = int(last_event_id) if last_event_id is not None and last_event_id.isdecimal() else after
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return StreamingResponse(_events(services, row, start), media_type="text/event-stream", headers=headers)


def _job(services: Services, job_id: str) -> jobs.JobRow | None:
    with services.database.read() as connection:
        return jobs.get(connection, job_id)


def _past(services: Services, job_id: str) -> tuple[list[jobs.EventRow], bool]:
    """The events of a job, and whether it has ended; in one snapshot."""
    with services.database.read() as connection:
        events = jobs.events_of(connection, job_id, limit=_HISTORY)
        row = jobs.get(connection, job_id)
    return events, row is None or JobStatus(row.status).is_final


async def _events(services: Services, row: jobs.JobRow, after: int) -> AsyncIterator[bytes]:
    async with services.hub.listening() as listener:
        listener.subscribe([row.id])
        past, has_ended = await run_in_threadpool(_past, services, row.id)
        translator, position = Translator(), after
        for event in past:
            for message in translator.messages(event):
                if message.seq > after:
                    yield await _event(services, message)
            position = max(position, event.seq)
        listener.position = max(listener.position, position)
        while not has_ended:
            try:
                message_or_none = await listener.get(PING_SECONDS)
            except TooSlowError:
                return
            if message_or_none is None:
                yield b": ping\n\n"
            elif message_or_none.job_id is not None and message_or_none.seq > position:
                yield await _event(services, message_or_none)
                has_ended = message_or_none.is_end


async def _event(services: Services, message: Message) -> bytes:
    data = await services.texts.of(message)
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (message.seq, message.type.encode(), data)
