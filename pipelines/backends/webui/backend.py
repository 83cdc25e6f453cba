"""Modes `sdnext` and `a1111`: pictures by a server of Stable Diffusion with the API of `/sdapi/v1`.

Belongs here: a job on such a server, from the names of its LoRAs to its pictures. Does not: requests (`client`), the
meaning of answers (`outcome`), progress (`progress`), what may be asked for (`parameters`).

The servers have one lock and no queue, so the lane is the queue: one request is in flight, and none is sent while the
server says that it is at work, for the progress that it tells and the interrupt that it takes are of whatever runs
there. A request whose connection broke goes on there; it is waited for and never sent twice in one attempt. A lane
that dies while the server works has the job attempted once more.
"""

import asyncio
import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import AnyHttpUrl, SecretStr

from pipelines.backends import loras, pictures
from pipelines.backends.asking import BusyError, NoAnswerError, TargetError, UnreachableError
from pipelines.backends.library import Library
from pipelines.backends.loras import Listing, Rewritten
from pipelines.backends.outcomes import again, cancelled, failed, succeeded
from pipelines.backends.parameters import size_warnings
from pipelines.backends.pictures import Made
from pipelines.backends.submission import TaskSubmission
from pipelines.backends.webui.client import Kind, Server, WebUIClient
from pipelines.backends.webui.outcome import OutcomeError, read_outcome
from pipelines.backends.webui.parameters import WebUIParams, check, request_of, warnings_of
from pipelines.backends.webui.progress import ProgressMeter
from warehouse.backends import BackendPlugin, Description, Outcome, Progress, UnavailableError
from warehouse.generating import PREVIEW, Failure
from warehouse.jobs import ClaimedJob, JobKind
from warehouse.lora_tokens import TOKEN
from warehouse.pictures import PictureStore, UnknownPictureError
from warehouse.settings import Settings

POLL_SECONDS: Final = 0.5
"""Between two looks at the progress; more often runs into the server's limit of requests."""
INTERRUPT_SECONDS: Final = 0.25
"""Between two interrupts: SD.Next hears one only while it samples."""
STOP_SECONDS: Final = 25.0
"""What the server has to stop when it is asked to; the lane waits a little longer."""
UNREACHABLE_PAUSE: Final = 3.0
BUSY_PAUSE: Final = 60.0
"""The limit of requests is counted by the minute."""
STUCK_SECONDS: Final = 15.0
"""A server whose state stands still this long is not waited for: after some errors SD.Next says that it is at work
until the next request."""
LISTING_SECONDS: Final = 60.0
"""How long a listing of LoRAs is believed."""
RESCAN_SECONDS: Final = 30.0
"""Between two rescans of the server's folder, which takes it seconds."""
_MULTIPLE: Final = 8
_TITLES: Final = {Kind.SDNEXT: "SD.Next", Kind.A1111: "A1111"}


@dataclass(slots=True)
class _Cache:
    """What a server said of itself, and when."""

    listing: Listing | None = None
    listed_at: float = 0.0
    rescanned_at: float = field(default=float("-inf"))


class WebUIBackend:
    """A server of one of the two kinds."""

    def __init__(self, settings: Settings, kind: Kind, url: AnyHttpUrl | None, auth: SecretStr | None) -> None:
        if url is None:
            raise ValueError(f"no {_TITLES[kind]} is configured: set LORA_MANAGER_{kind.name}_URL")
        self.kind = kind
        self.client = WebUIClient(str(url), auth=auth.get_secret_value() if auth is not None else None)
        self.library = Library(settings)
        self.store = PictureStore(settings.pictures_dir)
        self.limit = settings.generation_timeout_seconds
        self._cache = _Cache()

    async def submit(self, job: ClaimedJob) -> "_Generation":
        """Begin a generation."""
        return _Generation(self, job)

    async def close(self) -> None:
        """Close the connections."""
        await self.client.close()
        self.library.close()

    async def name_loras(self, prompt: str, own: Mapping[str, loras.OwnLora], server: Server) -> Rewritten:
        """The prompt with the server's names. A token that a cached listing lacks is looked for in a fresh one, and
        then in one after a rescan of the server's folder."""
        if not TOKEN.search(prompt):
            return Rewritten(prompt)
        cache, is_fresh = self._cache, False
        if cache.listing is None or time.monotonic() - cache.listed_at > LISTING_SECONDS:
            cache.listing, is_fresh = await self._list(server), True
        named = loras.rewrite(prompt, own, cache.listing)
        if named.unlisted and not is_fresh:
            cache.listing = await self._list(server)
            named = loras.rewrite(prompt, own, cache.listing)
        if named.unlisted and time.monotonic() - cache.rescanned_at > RESCAN_SECONDS:
            cache.rescanned_at = time.monotonic()
            await self._rescan()
            cache.listing = await self._list(server)
            named = loras.rewrite(prompt, own, cache.listing)
        return named

    async def _rescan(self) -> None:
        """Have the folder read again; a server that refuses keeps the listing it has."""
        try:
            await self.client.rescan_loras()
        except TargetError as error:
            if error.status is None or isinstance(error, BusyError):
                raise

    async def _list(self, server: Server) -> Listing:
        listed = await self.client.loras(server.kind)
        self._cache.listed_at = time.monotonic()
        return Listing(listed)


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A job as it can be sent."""

    params: WebUIParams
    server: Server
    named: Rewritten
    warnings: list[str]

    @property
    def title(self) -> str:
        """The server's name for people."""
        return _TITLES[self.server.kind]


class _Generation(TaskSubmission):
    """One job on a server."""

    def __init__(self, backend: WebUIBackend, job: ClaimedJob) -> None:
        self._backend, self._client = backend, backend.client
        self._deadline = time.monotonic() + backend.limit
        self._is_sent = False
        self._is_late = False
        self._previewed_at = 0.0
        super().__init__(job)

    async def _work(self) -> Outcome:
        try:
            return await self._attempt()
        except asyncio.CancelledError:
            await self._call_off()
            raise
        except UnreachableError as error:
            return again(str(error), Failure.UNREACHABLE, retry_in=UNREACHABLE_PAUSE)
        except BusyError as error:
            return again(f"{error}; a picture it may have made is lost", Failure.BUSY, retry_in=BUSY_PAUSE)
        except NoAnswerError as error:
            if self._is_sent:
                return await self._lost(error)
            return again(str(error), Failure.TIMEOUT, retry_in=UNREACHABLE_PAUSE)
        except TargetError as error:
            is_ours = error.status is not None and 400 <= error.status < 500
            return failed(str(error), Failure.REFUSED if is_ours else Failure.ERROR)

    async def _attempt(self) -> Outcome:
        prepared = await self._prepare()
        if isinstance(prepared, Outcome):
            return prepared
        if not await self._until_idle():
            return cancelled("nothing was sent")
        if time.monotonic() > self._deadline:
            return failed(
                f"{prepared.title} was busy with other work for {self._backend.limit:.0f} s; nothing was sent",
                Failure.TIMEOUT,
            )
        began = time.monotonic()
        answer = await self._generate(prepared)
        if isinstance(answer, Outcome):
            return answer
        return await self._judge(prepared, answer, time.monotonic() - began)

    async def _prepare(self) -> _Prepared | Outcome:
        """What will be sent; or why nothing can be."""
        prompt = self._job.prompt
        params = WebUIParams.model_validate(self._job.params)
        server = await self._client.identify(self._backend.kind)
        title = _TITLES[server.kind]
        if params.checkpoint is not None and not await self._client.has_checkpoint(params.checkpoint):
            has = ", ".join((await self._client.checkpoints())[:20]) or "none"
            return failed(f"{title} has no checkpoint {params.checkpoint!r}. It has: {has}", Failure.REFUSED)
        meant = await self._backend.library.meant_by(prompt, self._job.params)
        warnings = [*meant.warnings, *size_warnings(params, _MULTIPLE), *warnings_of(params, server.kind)]
        if TOKEN.search(params.negative_prompt):
            warnings.append(f"{title} reads no LoRA in the negative prompt: those there were not applied")
        try:
            named = await self._backend.name_loras(prompt, meant.own, server)
        except TargetError as error:
            if isinstance(error, UnreachableError | NoAnswerError | BusyError):
                raise
            named = loras.rewrite(prompt, meant.own, Listing(()))
            warnings.append(f"the LoRAs of {title} could not be listed ({error}): their names were sent as composed")
        else:
            if params.strict_loras and named.unlisted:
                return self._strict(loras.report(named.sent, None), title)
        return _Prepared(params, server, named, warnings)

    def _strict(self, report: dict[str, list[dict[str, Any]]], title: str) -> Outcome:
        names = ", ".join(loras.missing_of(report))
        said = "; ".join(loras.warnings(report, title))
        return failed(f"LoRAs are missing ({names}): {said}", Failure.LORAS, lora_report=report)

    # Sending.

    async def _until_idle(self) -> bool:
        """Wait until the server is at nothing, or at a standstill, or time is over; whether that came before a stop."""
        before, since = None, time.monotonic()
        while not self._stop.is_set():
            try:
                state = _state(await self._client.progress(preview=False))
            except BusyError:
                await self._pause(10 * POLL_SECONDS)
                continue
            now = time.monotonic()
            if _is_idle(state) or now > self._deadline:
                return True
            if state != before:
                before, since = state, now
            elif now - since > STUCK_SECONDS:
                return True
            await self._pause(POLL_SECONDS)
        return False

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()

    async def _generate(self, prepared: _Prepared) -> Any:
        """The decoded answer; or the outcome, where nobody waits for it any more."""
        body = request_of(prepared.params, prepared.named.prompt, prepared.server.kind)
        seconds = max(1.0, self._deadline - time.monotonic()) + 2 * STOP_SECONDS
        request = asyncio.create_task(self._client.generate(body, timeout=seconds))
        watching = asyncio.create_task(self._watch(prepared.params))
        self._is_sent = True
        try:
            await asyncio.wait((request, watching), return_when=asyncio.FIRST_COMPLETED)
            is_answered = request.done()
        finally:
            for task in (request, watching):
                if not task.done():
                    task.cancel()
            await asyncio.gather(request, watching, return_exceptions=True)
        if self._stop.is_set():
            how = "the server was interrupted" if is_answered else "the server did not stop when it was asked to"
            return cancelled(how)
        if self._is_late:
            return failed(f"{prepared.title} made nothing in {self._backend.limit:.0f} s", Failure.TIMEOUT)
        return request.result()

    async def _watch(self, params: WebUIParams) -> None:
        """Follow the progress; once it is to stop, interrupt until that is heard. Ends when the server does not."""
        meter, began = ProgressMeter(params.passes), time.monotonic()
        pause = POLL_SECONDS
        while not self._stop.is_set() and time.monotonic() < self._deadline:
            await self._pause(min(pause, max(0.0, self._deadline - time.monotonic())))
            try:
                await self._look(meter, params, began)
                pause = POLL_SECONDS
            except BusyError:
                pause = 10 * POLL_SECONDS
            except TargetError:
                pause = 2 * POLL_SECONDS
        self._is_late = not self._stop.is_set()
        given_up = time.monotonic() + STOP_SECONDS
        while time.monotonic() < given_up:
            with contextlib.suppress(TargetError):
                await self._client.interrupt()
            await asyncio.sleep(INTERRUPT_SECONDS)

    async def _look(self, meter: ProgressMeter, params: WebUIParams, began: float) -> None:
        now = time.monotonic()
        with_preview = (
            params.live_preview and meter.is_sampling and now - self._previewed_at >= pictures.PREVIEW_SECONDS
        )
        answer = await self._client.progress(preview=with_preview)
        if not isinstance(answer, Mapping) or self._stop.is_set():
            return
        progress = meter.read(answer)
        details: dict[str, Any] = {"step": progress.step, "steps": progress.steps}
        if progress.fraction > 0.02:
            # The server's own estimate ends with the pass it is at.
            details["eta"] = round((now - began) * (1 - progress.fraction) / progress.fraction, 1)
        image = answer.get("current_image")
        if with_preview and isinstance(image, str):
            self._previewed_at = now
            preview = await asyncio.to_thread(_preview, image)
            if preview is not None:
                details[PREVIEW] = preview
        self._tell(Progress(100 * progress.fraction, details))

    async def _lost(self, error: NoAnswerError) -> Outcome:
        """The server goes on with a request whose connection broke: the next one is not sent into it."""
        with contextlib.suppress(TargetError):
            await self._until_idle()
        if self._stop.is_set():
            return cancelled("the connection to the server had been lost")
        return failed(
            f"{error}, after the generation was sent: whether its pictures were made is not known, and they cannot be "
            "had. It was not sent again; retry it if they are wanted",
            Failure.LOST,
        )

    async def _call_off(self) -> None:
        """The lane itself ends: the server need not go on. It may not hear it, and nobody waits for that."""
        if self._is_sent:
            with contextlib.suppress(TargetError, TimeoutError):
                async with asyncio.timeout(1):
                    await self._client.interrupt()

    # Judging.

    async def _judge(self, prepared: _Prepared, answer: Any, seconds: float) -> Outcome:
        params, title = prepared.params, prepared.title
        try:
            outcome = read_outcome(answer, expected=params.pictures, interrupted=False)
            made = [
                Made(pictures.decoded(image), _at(outcome.seeds, number), _at(outcome.infotexts, number))
                for number, image in enumerate(outcome.images)
            ]
        except (OutcomeError, UnknownPictureError) as error:
            return failed(str(error), Failure.NO_PICTURE)
        applied = outcome.applied
        if applied is None and prepared.server.version is not None:
            applied = frozenset()  # SD.Next names those it applied, so it applied none
        report = loras.report(prepared.named.sent, applied)
        if params.strict_loras and loras.missing_of(report):
            return self._strict(report, title)
        server = prepared.server
        try:
            return await succeeded(
                self._backend.store,
                made,
                backend=self._job.mode,
                server={"kind": server.kind.value, "version": server.version, "url": self._client.base_url},
                parameters=outcome.parameters,
                info=outcome.info,
                seconds=seconds,
                report=report,
                warnings=[*prepared.warnings, *loras.warnings(report, title)],
            )
        except UnknownPictureError as error:
            return failed(f"{title} answered something that is no picture: {error}", Failure.NO_PICTURE)


def _state(answer: Any) -> Mapping[str, Any]:
    state = answer.get("state") if isinstance(answer, Mapping) else None
    return state if isinstance(state, Mapping) else {}


def _is_idle(state: Mapping[str, Any]) -> bool:
    return not state.get("job") and not state.get("job_count")


def _preview(image: str) -> str | None:
    try:
        return pictures.small(pictures.decoded(image))
    except UnknownPictureError:
        return None


def _at(values: list[Any], number: int) -> Any:
    return values[number] if number < len(values) else None


async def _describe(kind: Kind, url: AnyHttpUrl | None, auth: SecretStr | None) -> Description:
    async with WebUIClient(str(url), auth=auth.get_secret_value() if auth is not None else None) as client:
        try:
            server, checkpoints, samplers = await asyncio.gather(
                client.identify(kind), client.checkpoints(), client.samplers()
            )
        except TargetError as error:
            raise UnavailableError(str(error)) from error
    return Description(server.version, checkpoints, samplers)


def _sdnext(settings: Settings) -> WebUIBackend:
    return WebUIBackend(settings, Kind.SDNEXT, settings.sdnext_url, settings.sdnext_auth)


def _a1111(settings: Settings) -> WebUIBackend:
    return WebUIBackend(settings, Kind.A1111, settings.a1111_url, settings.a1111_auth)


SDNEXT = BackendPlugin(
    name="sdnext",
    description="Generates pictures by an SD.Next server.",
    kind=JobKind.GENERATION,
    params=WebUIParams,
    open=_sdnext,
    check=check,
    is_configured=lambda settings: settings.sdnext_url is not None,
    describe=lambda settings: _describe(Kind.SDNEXT, settings.sdnext_url, settings.sdnext_auth),
    concurrency=1,
    max_attempts=2,
)
A1111 = BackendPlugin(
    name="a1111",
    description="Generates pictures by an A1111 or Forge server.",
    kind=JobKind.GENERATION,
    params=WebUIParams,
    open=_a1111,
    check=check,
    is_configured=lambda settings: settings.a1111_url is not None,
    describe=lambda settings: _describe(Kind.A1111, settings.a1111_url, settings.a1111_auth),
    concurrency=1,
    max_attempts=2,
)
