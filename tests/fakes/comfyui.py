"""A fake of ComfyUI's HTTP API and WebSocket: what a client meets, without nodes that compute.

Written from ComfyUI's source (0.3.64). It walks a graph node by node, counts the steps of samplers, and saves flat
pictures. Held to the behaviour of the real one: submissions are validated and answered at once with the id that the
client chose, LoRA and checkpoint names must be in their lists, messages of an execution go to the client that
submitted it alone, a graph that was computed before is finished before anybody can listen, an interrupt makes an error
of the history, and the history is the truth.
"""

import asyncio
import hashlib
import io
import json
import struct
import time
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from PIL import Image
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

_CHOICES = {"LoraLoader": "lora_name", "LoraLoaderModelOnly": "lora_name", "CheckpointLoaderSimple": "ckpt_name"}
_OUTPUTS = ("SaveImage", "PreviewImage")
_REQUIRED = {
    "LoraLoader": ("model", "clip", "lora_name", "strength_model", "strength_clip"),
    "CheckpointLoaderSimple": ("ckpt_name",),
    "CLIPTextEncode": ("text", "clip"),
    "KSampler": ("model", "positive", "negative", "latent_image", "seed", "steps", "cfg", "sampler_name"),
    "SaveImage": ("images",),
}


class _Interrupted(Exception):  # noqa: N818 - what happened, not an error
    pass


@dataclass
class FakeComfyUI:
    """The server: its knobs, and what it was asked."""

    loras: list[str] = field(default_factory=list)
    """Paths with extension, as its listing has them."""
    checkpoints: list[str] = field(default_factory=lambda: ["tiny.safetensors"])
    step_seconds: float = 0.01
    previews: bool = True
    fails_in: str | None = None
    """A class of node whose execution raises."""
    loses_history: bool = False
    """As after a restart."""

    graphs: list[dict[str, Any]] = field(default_factory=list)
    """What was executed, in order."""
    executed: int = 0
    computed: int = 0

    def __post_init__(self) -> None:
        self._pending: deque[tuple[int, str, dict[str, Any], dict[str, Any], list[str]]] = deque()
        self._running: tuple[int, str, dict[str, Any], dict[str, Any], list[str]] | None = None
        self._history: dict[str, dict[str, Any]] = {}
        self._sockets: dict[str, WebSocket] = {}
        self._pictures: dict[str, bytes] = {}
        self._outputs_of: dict[str, dict[str, Any]] = {}
        self._number = 0
        self._interrupt = False
        self._worker: asyncio.Task[None] | None = None
        self._due = asyncio.Event()
        self.loop: asyncio.AbstractEventLoop | None = None
        """The event loop that serves it, once it was asked something."""

    @property
    def app(self) -> Starlette:
        """The server as an ASGI application, for one event loop; what it has in its history stays for the next."""
        self._worker, self._due = None, asyncio.Event()
        return Starlette(
            routes=[
                Route("/prompt", self._submit, methods=["POST"]),
                Route("/prompt", self._remaining, methods=["GET"]),
                Route("/queue", self._queue, methods=["GET"]),
                Route("/queue", self._change_queue, methods=["POST"]),
                Route("/interrupt", self._stop, methods=["POST"]),
                Route("/history", self._change_history, methods=["POST"]),
                Route("/history/{prompt_id}", self._one_history, methods=["GET"]),
                Route("/object_info/{name}", self._object_info, methods=["GET"]),
                Route("/models/loras", self._models, methods=["GET"]),
                Route("/view", self._view, methods=["GET"]),
                Route("/system_stats", self._stats, methods=["GET"]),
                WebSocketRoute("/ws", self._listen),
            ]
        )

    # Submitting.

    async def _submit(self, request: Request) -> Response:
        body = await request.json()
        graph = body.get("prompt")
        if not graph:
            return _refusal("no_prompt", "No prompt provided")
        errors = {node: found for node, spec in graph.items() if (found := self._errors_of(graph, spec))}
        outputs = [node for node, spec in graph.items() if spec.get("class_type") in _OUTPUTS]
        if not outputs:
            return _refusal("prompt_no_outputs", "Prompt has no outputs")
        if errors:
            return _refusal("prompt_outputs_failed_validation", "Prompt outputs failed validation", errors)
        prompt_id = body.get("prompt_id") or hashlib.sha256(str(time.time_ns()).encode()).hexdigest()[:32]
        self._number += 1
        extra = {"client_id": body["client_id"]} if "client_id" in body else {}
        self._pending.append((self._number, prompt_id, graph, extra, outputs))
        if self._worker is None:
            self._worker = asyncio.create_task(self._work())
        self._due.set()
        return JSONResponse({"prompt_id": prompt_id, "number": self._number, "node_errors": {}})

    def _errors_of(self, graph: dict[str, Any], spec: dict[str, Any]) -> dict[str, Any] | None:
        kind, inputs = spec.get("class_type", ""), spec.get("inputs", {})
        errors = [
            {"type": "required_input_missing", "message": "Required input is missing", "details": name}
            for name in _REQUIRED.get(kind, ())
            if name not in inputs
        ]
        choice = _CHOICES.get(kind)
        if choice is not None and choice in inputs:
            known = self.loras if choice == "lora_name" else self.checkpoints
            if inputs[choice] not in known:
                details = f"{choice}: '{inputs[choice]}' not in {known}"
                errors.append({"type": "value_not_in_list", "message": "Value not in list", "details": details})
        for name, value in inputs.items():
            if isinstance(value, list) and value and str(value[0]) not in graph:
                errors.append({"type": "bad_linked_input", "message": "Bad linked input", "details": name})
        return {"errors": errors, "dependent_outputs": [], "class_type": kind} if errors else None

    # The queue.

    async def _remaining(self, _request: Request) -> Response:
        return JSONResponse({"exec_info": {"queue_remaining": self._queued()}})

    def _queued(self) -> int:
        return len(self._pending) + (self._running is not None)

    async def _queue(self, _request: Request) -> Response:
        running = [] if self._running is None else [list(self._running)]
        return JSONResponse({"queue_running": running, "queue_pending": [list(item) for item in self._pending]})

    async def _change_queue(self, request: Request) -> Response:
        body = await request.json()
        doomed = set(body.get("delete", ()))
        if body.get("clear"):
            doomed = {item[1] for item in self._pending}
        self._pending = deque(item for item in self._pending if item[1] not in doomed)
        return Response()

    async def _stop(self, request: Request) -> Response:
        raw = await request.body()
        wanted = (json.loads(raw) if raw else {}).get("prompt_id")
        if self._running is not None and wanted in (None, self._running[1]):
            self._interrupt = True
        return Response()

    # Executing.

    async def _work(self) -> None:
        while True:
            await self._due.wait()
            self._due.clear()
            while self._pending:
                self._running = self._pending.popleft()
                self._interrupt = False
                await self._execute(*self._running)
                self._running = None

    async def _execute(
        self, _number: int, prompt_id: str, graph: dict[str, Any], extra: dict[str, Any], outputs: list[str]
    ) -> None:
        client = extra.get("client_id")
        self.graphs.append(graph)
        self.executed += 1
        messages: list[list[Any]] = []

        async def tell(kind: str, **data: Any) -> None:
            data = {**data, "prompt_id": prompt_id}
            messages.append([kind, {**data, "timestamp": time.time_ns() // 1_000_000}])
            await self._send(client, kind, data)

        key = json.dumps(graph, sort_keys=True)
        await tell("execution_start")
        cached = self._outputs_of.get(key)
        await tell("execution_cached", nodes=list(graph) if cached is not None else [])
        node = ""
        try:
            if cached is None:
                cached = {}
                self.computed += 1
                for node, spec in graph.items():
                    await self._send(client, "executing", {"node": node, "display_node": node, "prompt_id": prompt_id})
                    await self._run_node(node, spec, client, prompt_id)
                    if spec["class_type"] in _OUTPUTS:
                        cached[node] = {"images": [self._save(graph, node)]}
                        await self._send(client, "executed", {"node": node, "output": cached[node]})
                self._outputs_of[key] = cached
            await self._send(client, "executing", {"node": None, "prompt_id": prompt_id})
            await tell("execution_success")
            status = "success"
        except _Interrupted:
            await tell("execution_interrupted", node_id=node, node_type=graph[node]["class_type"], executed=[])
            status, cached = "error", {}
        except RuntimeError as error:
            await tell(
                "execution_error",
                node_id=node,
                node_type=graph[node]["class_type"],
                executed=[],
                exception_message=str(error),
                exception_type="RuntimeError",
                traceback=[],
            )
            status, cached = "error", {}
        if not self.loses_history:
            self._history[prompt_id] = {
                "prompt": [_number, prompt_id, graph, extra, outputs],
                "outputs": cached,
                "status": {"status_str": status, "completed": status == "success", "messages": messages},
                "meta": {},
            }
        await self._send(client, "status", {"status": {"exec_info": {"queue_remaining": len(self._pending)}}})

    async def _run_node(self, node: str, spec: dict[str, Any], client: str | None, prompt_id: str) -> None:
        if spec["class_type"] == self.fails_in:
            raise RuntimeError("CUDA out of memory")
        steps = int(spec["inputs"].get("steps", 0)) if "sampler_name" in spec["inputs"] else 0
        for step in range(1, steps + 1):
            await asyncio.sleep(self.step_seconds)
            if self._interrupt:
                raise _Interrupted
            progress = {"value": step, "max": steps, "prompt_id": prompt_id, "node": node}
            await self._send(client, "progress", progress)
            if self.previews and client in self._sockets:
                preview = struct.pack(">II", 1, 1) + _picture(16, 16, "preview", "JPEG")
                await self._send_bytes(client, preview)
        if self._interrupt:
            raise _Interrupted

    def _save(self, graph: dict[str, Any], node: str) -> dict[str, str]:
        latents = [spec["inputs"] for spec in graph.values() if "Latent" in spec["class_type"]]
        size = (int(latents[0].get("width", 64)), int(latents[0].get("height", 64))) if latents else (64, 64)
        name = f"{graph[node]['inputs'].get('filename_prefix', 'ComfyUI')}_{len(self._pictures):05}_.png"
        self._pictures[name] = _picture(*size, json.dumps(graph, sort_keys=True), "PNG")
        return {"filename": name, "subfolder": "", "type": "output"}

    # Listening.

    async def _listen(self, socket: WebSocket) -> None:
        await socket.accept()
        client = socket.query_params.get("clientId", "")
        self._sockets[client] = socket
        status = {"status": {"exec_info": {"queue_remaining": self._queued()}}, "sid": client}
        await socket.send_json({"type": "status", "data": status})
        try:
            while True:
                await socket.receive()
        except (WebSocketDisconnect, RuntimeError):
            if self._sockets.get(client) is socket:
                del self._sockets[client]

    async def drop_sockets(self) -> None:
        """Close every connection, as a proxy that restarts."""
        for socket in list(self._sockets.values()):
            await socket.close()

    async def _send(self, client: str | None, kind: str, data: dict[str, Any]) -> None:
        socket = self._sockets.get(client or "")
        if socket is not None:
            try:
                await socket.send_json({"type": kind, "data": data})
            except RuntimeError:
                self._sockets.pop(client or "", None)

    async def _send_bytes(self, client: str | None, data: bytes) -> None:
        socket = self._sockets.get(client or "")
        if socket is not None:
            try:
                await socket.send_bytes(data)
            except RuntimeError:
                self._sockets.pop(client or "", None)

    # Asking.

    async def _one_history(self, request: Request) -> Response:
        prompt_id = request.path_params["prompt_id"]
        found = self._history.get(prompt_id)
        return JSONResponse({} if found is None else {prompt_id: found})

    async def _change_history(self, request: Request) -> Response:
        for prompt_id in (await request.json()).get("delete", ()):
            self._history.pop(prompt_id, None)
        return Response()

    async def _object_info(self, request: Request) -> Response:
        name = request.path_params["name"]
        choice = _CHOICES.get(name)
        if choice is None and name not in _REQUIRED:
            return JSONResponse({})
        required: dict[str, Any] = {key: ["*", {}] for key in _REQUIRED.get(name, ())}
        if choice is not None:
            required[choice] = [self.loras if choice == "lora_name" else self.checkpoints, {}]
        if name == "KSampler":
            required["sampler_name"] = [["euler", "euler_ancestral", "dpmpp_2m"], {}]
            required["scheduler"] = [["normal", "karras"], {}]
        return JSONResponse({name: {"input": {"required": required}, "output": [], "name": name}})

    async def _models(self, _request: Request) -> Response:
        return JSONResponse(self.loras)

    async def _view(self, request: Request) -> Response:
        picture = self._pictures.get(request.query_params.get("filename", ""))
        return Response(status_code=404) if picture is None else Response(picture, media_type="image/png")

    async def _stats(self, _request: Request) -> Response:
        self.loop = asyncio.get_running_loop()
        return JSONResponse({"system": {"os": "posix", "comfyui_version": "0.3.64"}, "devices": []})


def _refusal(kind: str, message: str, node_errors: dict[str, Any] | None = None) -> Response:
    error = {"type": kind, "message": message, "details": "", "extra_info": {}}
    return JSONResponse({"error": error, "node_errors": node_errors or {}}, 400)


def _picture(width: int, height: int, essence: str, kind: str) -> bytes:
    digest = hashlib.sha256(essence.encode()).digest()
    stream = io.BytesIO()
    Image.new("RGB", (width, height), tuple(digest[:3])).save(stream, kind)
    return stream.getvalue()
