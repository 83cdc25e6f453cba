"""The HTTP API and WebSocket of ComfyUI.

Belongs here: requests, statuses, errors, the connection. Does not: graphs (`workflow`), what messages mean (`events`).
We choose the id of a graph, so that a submission whose answer was lost is found again instead of being sent twice.
"""

import base64
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

import httpx
import msgspec

from pipelines.backends.comfyui.workflow import Graph
from pipelines.backends.loras import ListedLora

_TIMEOUT: Final = httpx.Timeout(15.0, connect=5.0)
_MAX_DETAIL: Final = 500
_MAX_BODY: Final = 256 * 2**20


class ComfyError(Exception):
    """ComfyUI cannot be asked, or refuses; the message says what it said and what to do."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        """Of HTTP; None where there was no answer."""


class UnreachableError(ComfyError):
    """No connection: nothing was sent."""


class NoAnswerError(ComfyError):
    """The connection broke or timed out: whether the request was taken is not known."""


@dataclass(frozen=True, slots=True)
class Finished:
    """How a graph ended, as the history tells."""

    succeeded: bool
    interrupted: bool
    error: str | None
    images: list[dict[str, str]]
    """`filename`, `subfolder`, `type` of every picture of kind output, else of any kind."""


class ComfyClient:
    """A client of one server. Used as an asynchronous context manager."""

    def __init__(self, base_url: str) -> None:
        """A client; nothing is sent yet."""
        url = httpx.URL(base_url)
        # Messages name the address, so it must not hold a password.
        self.base_url = str(url.copy_with(userinfo=b"", query=None, fragment=None)).rstrip("/")
        user = f"{url.username}:{url.password}".encode()
        # ComfyUI asks for none; a proxy before it may.
        self._headers = {"Authorization": f"Basic {base64.b64encode(user).decode()}"} if url.username else {}
        self._http = httpx.AsyncClient(base_url=self.base_url, headers=self._headers, timeout=_TIMEOUT, trust_env=False)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    # What it has.

    async def version(self) -> str | None:
        """Its version."""
        said = _mapping(await self._json("GET", "/system_stats"))
        version = _mapping(said.get("system")).get("comfyui_version")
        return str(version) if version else None

    async def loras(self) -> list[ListedLora]:
        """Its LoRAs: names with extension, and with the separators of its system."""
        names = await self._choices("LoraLoader", "lora_name")
        return [ListedLora(name, name) for name in names]

    async def checkpoints(self) -> list[str]:
        """Its checkpoints."""
        return await self._choices("CheckpointLoaderSimple", "ckpt_name")

    async def samplers(self) -> list[str]:
        """Its samplers."""
        return await self._choices("KSampler", "sampler_name")

    async def _choices(self, node: str, name: str) -> list[str]:
        said = _mapping(await self._json("GET", f"/object_info/{node}"))
        required = _mapping(_mapping(_mapping(said.get(node)).get("input")).get("required"))
        first, *rest = _list(required.get(name)) or [None]
        # Newer builds name the kind first and the choices beside it.
        choices = _mapping(rest[0]).get("options") if first == "COMBO" and rest else first
        return [str(choice) for choice in _list(choices)]

    # Graphs.

    async def submit(self, graph: Graph, *, client_id: str, prompt_id: str) -> None:
        """Queue a graph under an id of ours.

        Raises:
            ComfyError: it is refused; the message names each node and what is wrong with it.
        """
        body = {"prompt": graph, "client_id": client_id, "prompt_id": prompt_id}
        await self._json("POST", "/prompt", body=body)

    async def is_queued(self, prompt_id: str) -> bool:
        """Whether a graph waits or runs."""
        said = _mapping(await self._json("GET", "/queue"))
        entries = [*_list(said.get("queue_running")), *_list(said.get("queue_pending"))]
        return any(isinstance(entry, list) and len(entry) > 1 and entry[1] == prompt_id for entry in entries)

    async def finished(self, prompt_id: str) -> Finished | None:
        """How a graph ended; None while it has not, and where the server has forgotten it."""
        said = _mapping(await self._json("GET", f"/history/{prompt_id}"))
        entry = said.get(prompt_id)
        return _finished(entry) if isinstance(entry, Mapping) else None

    async def forget(self, prompt_id: str) -> None:
        """Take a graph out of the history, so that its id can be used again."""
        await self._json("POST", "/history", body={"delete": [prompt_id]})

    async def cancel(self, prompt_id: str) -> None:
        """Take a graph out of the queue, or stop it where it runs; nothing happens to any other."""
        await self._json("POST", "/queue", body={"delete": [prompt_id]})
        said = _mapping(await self._json("GET", "/queue"))
        running = _list(said.get("queue_running"))
        # Older builds interrupt whatever runs, so they are asked only while it is ours.
        if any(isinstance(entry, list) and len(entry) > 1 and entry[1] == prompt_id for entry in running):
            await self._json("POST", "/interrupt", body={"prompt_id": prompt_id})

    async def picture(self, place: Mapping[str, str]) -> bytes:
        """The bytes of a picture that the history names."""
        return await self._bytes("GET", "/view", params=dict(place))

    async def listen(self, client_id: str) -> AsyncIterator[str | bytes]:
        """Messages about what this client submitted, until the connection ends.

        Raises:
            ComfyError: there is no connection.
        """
        from websockets.asyncio.client import connect
        from websockets.exceptions import InvalidHandshake, WebSocketException

        scheme = "wss" if self.base_url.startswith("https") else "ws"
        address = f"{scheme}://{self.base_url.partition('://')[2]}/ws?clientId={client_id}"
        options: dict[str, Any] = {"max_size": 32 * 2**20, "open_timeout": 5, "proxy": None}
        try:
            async with connect(address, additional_headers=self._headers, **options) as socket:
                async for message in socket:
                    yield message
        except (OSError, InvalidHandshake, WebSocketException, TimeoutError) as error:
            raise NoAnswerError(f"{self.base_url} tells no progress: {type(error).__name__}") from error

    # Requests.

    async def _json(self, method: str, path: str, *, body: Mapping[str, Any] | None = None) -> Any:
        raw = await self._bytes(method, path, body=body)
        if not raw.strip():
            return None
        try:
            return msgspec.json.decode(raw)
        except msgspec.DecodeError as error:
            raise ComfyError(f"{self.base_url} answered no JSON to {path}: is it ComfyUI?") from error

    async def _bytes(
        self,
        method: str,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        params: dict[str, str] | None = None,
    ) -> bytes:
        content = msgspec.json.encode(body) if body is not None else None
        headers = {"Content-Type": "application/json"} if body is not None else None
        try:
            async with self._http.stream(method, path, params=params, content=content, headers=headers) as response:
                raw = await _bounded(response)
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise UnreachableError(
                f"{self.base_url} cannot be reached ({error}): start it, or correct its address"
            ) from error
        except httpx.HTTPError as error:
            raise NoAnswerError(f"{self.base_url} gave no answer to {path}: {type(error).__name__}") from error
        if response.is_success:
            return raw
        status = response.status_code
        raise ComfyError(f"{self.base_url} answered {status} to {path}: {error_text(raw)}", status=status)


async def _bounded(response: httpx.Response) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > _MAX_BODY:
            raise ComfyError(f"the answer is larger than {_MAX_BODY // 2**20} MiB")
    return bytes(body)


def _finished(entry: Mapping[str, Any]) -> Finished:
    status = _mapping(entry.get("status"))
    messages = [item for item in _list(status.get("messages")) if isinstance(item, list) and len(item) == 2]
    said = {str(kind): _mapping(data) for kind, data in messages}
    failure = said.get("execution_error")
    error = None
    if failure is not None:
        node = f"{failure.get('node_type', '?')} ({failure.get('node_id', '?')})"
        error = f"{node}: {failure.get('exception_type', 'error')}: {failure.get('exception_message', '')}"
    pictures = [
        {key: str(image.get(key, "")) for key in ("filename", "subfolder", "type")}
        for output in _mapping(entry.get("outputs")).values()
        for image in _list(_mapping(output).get("images"))
        if isinstance(image, Mapping) and image.get("filename")
    ]
    kept = [image for image in pictures if image["type"] == "output"]
    return Finished(
        succeeded=status.get("status_str") == "success",
        interrupted="execution_interrupted" in said,
        error=error[:_MAX_DETAIL] if error else None,
        images=kept or pictures,
    )


def error_text(raw: bytes) -> str:
    """What a refusal says: the error, and of each node what is wrong with it."""
    try:
        said = _mapping(msgspec.json.decode(raw))
    except msgspec.DecodeError:
        return raw[:_MAX_DETAIL].decode("utf-8", "replace").strip() or "nothing"
    error = said.get("error")
    parts = [str(_mapping(error).get("message", "")) if isinstance(error, Mapping) else str(error or "")]
    for node, found in _mapping(said.get("node_errors")).items():
        problems = [_mapping(item) for item in _list(_mapping(found).get("errors"))]
        texts = [f"{item.get('message', '')}: {item.get('details', '')}" for item in problems]
        parts.append(f"{_mapping(found).get('class_type', '?')} ({node}): {'; '.join(texts)}")
    return ". ".join(part for part in parts if part)[:_MAX_DETAIL] or "nothing"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
