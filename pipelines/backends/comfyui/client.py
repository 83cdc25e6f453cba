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

from pipelines.backends.asking import MAX_DETAIL, NoAnswerError, TargetError, ask, decoded, items, mapping, plain_text
from pipelines.backends.comfyui.workflow import Graph
from pipelines.backends.loras import ListedLora

_TIMEOUT: Final = httpx.Timeout(15.0, connect=5.0)
_MAX_BODY: Final = 256 * 2**20


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
        said = mapping(await self._json("GET", "/system_stats"))
        version = mapping(said.get("system")).get("comfyui_version")
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
        said = mapping(await self._json("GET", f"/object_info/{node}"))
        required = mapping(mapping(mapping(said.get(node)).get("input")).get("required"))
        first, *rest = items(required.get(name)) or [None]
        # Newer builds name the kind first and the choices beside it.
        choices = mapping(rest[0]).get("options") if first == "COMBO" and rest else first
        return [str(choice) for choice in items(choices)]

    # Graphs.

    async def submit(self, graph: Graph, *, client_id: str, prompt_id: str) -> None:
        """Queue a graph under an id of ours.

        Raises:
            TargetError: it is refused; the message names each node and what is wrong with it.
        """
        body = {"prompt": graph, "client_id": client_id, "prompt_id": prompt_id}
        await self._json("POST", "/prompt", body=body)

    async def is_queued(self, prompt_id: str) -> bool:
        """Whether a graph waits or runs."""
        said = mapping(await self._json("GET", "/queue"))
        entries = [*items(said.get("queue_running")), *items(said.get("queue_pending"))]
        return any(isinstance(entry, list) and len(entry) > 1 and entry[1] == prompt_id for entry in entries)

    async def finished(self, prompt_id: str) -> Finished | None:
        """How a graph ended; None while it has not, and where the server has forgotten it."""
        said = mapping(await self._json("GET", f"/history/{prompt_id}"))
        entry = said.get(prompt_id)
        return _finished(entry) if isinstance(entry, Mapping) else None

    async def forget(self, prompt_id: str) -> None:
        """Take a graph out of the history, so that its id can be used again."""
        await self._json("POST", "/history", body={"delete": [prompt_id]})

    async def cancel(self, prompt_id: str) -> None:
        """Take a graph out of the queue, or stop it where it runs; nothing happens to any other."""
        await self._json("POST", "/queue", body={"delete": [prompt_id]})
        said = mapping(await self._json("GET", "/queue"))
        running = items(said.get("queue_running"))
        # Older builds interrupt whatever runs, so they are asked only while it is ours.
        if any(isinstance(entry, list) and len(entry) > 1 and entry[1] == prompt_id for entry in running):
            await self._json("POST", "/interrupt", body={"prompt_id": prompt_id})

    async def picture(self, place: Mapping[str, str]) -> bytes:
        """The bytes of a picture that the history names."""
        return await self._bytes("GET", "/view", params=dict(place))

    async def listen(self, client_id: str) -> AsyncIterator[str | bytes]:
        """Messages about what this client submitted, until the connection ends.

        Raises:
            TargetError: there is no connection.
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
        return decoded(raw, self.base_url, path, expected="ComfyUI")

    async def _bytes(self, method: str, path: str, **options: Any) -> bytes:
        status, raw = await ask(self._http, self.base_url, method, path, most=_MAX_BODY, **options)
        if httpx.codes.is_success(status):
            return raw
        raise TargetError(f"{self.base_url} answered {status} to {path}: {error_text(raw)}", status=status)


def _finished(entry: Mapping[str, Any]) -> Finished:
    status = mapping(entry.get("status"))
    messages = [item for item in items(status.get("messages")) if isinstance(item, list) and len(item) == 2]
    said = {str(kind): mapping(data) for kind, data in messages}
    failure = said.get("execution_error")
    error = None
    if failure is not None:
        node = f"{failure.get('node_type', '?')} ({failure.get('node_id', '?')})"
        error = f"{node}: {failure.get('exception_type', 'error')}: {failure.get('exception_message', '')}"
    pictures = [
        {key: str(image.get(key, "")) for key in ("filename", "subfolder", "type")}
        for output in mapping(entry.get("outputs")).values()
        for image in items(mapping(output).get("images"))
        if isinstance(image, Mapping) and image.get("filename")
    ]
    kept = [image for image in pictures if image["type"] == "output"]
    return Finished(
        succeeded=status.get("status_str") == "success",
        interrupted="execution_interrupted" in said,
        error=error[:MAX_DETAIL] if error else None,
        images=kept or pictures,
    )


def error_text(raw: bytes) -> str:
    """What a refusal says: the error, and of each node what is wrong with it."""
    try:
        said = mapping(msgspec.json.decode(raw))
    except msgspec.DecodeError:
        return plain_text(raw)
    error = said.get("error")
    parts = [str(mapping(error).get("message", "")) if isinstance(error, Mapping) else str(error or "")]
    for node, found in mapping(said.get("node_errors")).items():
        problems = [mapping(item) for item in items(mapping(found).get("errors"))]
        texts = [f"{item.get('message', '')}: {item.get('details', '')}" for item in problems]
        parts.append(f"{mapping(found).get('class_type', '?')} ({node}): {'; '.join(texts)}")
    return ". ".join(part for part in parts if part)[:MAX_DETAIL] or "nothing"
