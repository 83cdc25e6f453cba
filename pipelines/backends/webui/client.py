"""The HTTP API of SD.Next, A1111 and Forge (`/sdapi/v1`), as one client.

Belongs here: requests, statuses, the three shapes of errors, which server it is. Does not: sending (`asking`), what an
answer of a generation means (`outcome`), its progress (`progress`), whose LoRA is whose (`pipelines.backends.loras`).

What the servers do, and this client therefore: Basic authentication is sent with every request, for a 401 does not ask
for it; one generation at a time is sent, for a second one blocks the server's threads; nothing is sent to `/schedulers`
(broken) or `/checkpoint` (takes no lock); progress is asked for at most twice a second, for more runs into the rate
limit.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Any, Final, Self

import httpx
import msgspec

from pipelines.backends.asking import MAX_DETAIL, BusyError, TargetError, ask, decoded, items, plain_text
from pipelines.backends.loras import ListedLora

_SHORT: Final = httpx.Timeout(10.0, connect=5.0)
_LISTING: Final = httpx.Timeout(60.0, connect=5.0)
"""A folder of thousands of LoRAs is read in many seconds."""
_MAX_BODY: Final = 512 * 2**20
"""Of an answer: dozens of large pictures, and no more than a process can hold."""


class Kind(StrEnum):
    """Which server answers."""

    SDNEXT = "sdnext"
    A1111 = "a1111"


@dataclass(frozen=True, slots=True)
class Server:
    """What answers at an address."""

    kind: Kind
    version: str | None
    """None where the server does not say; it is then used as configured."""


class WebUIClient:
    """A client of one server. Used as an asynchronous context manager."""

    def __init__(self, base_url: str, *, auth: str | None = None) -> None:
        """A client; nothing is sent yet.

        Args:
            base_url: of the server, with its subpath if it has one.
            auth: `user:password`.
        """
        url = httpx.URL(base_url)
        user, _, password = auth.partition(":") if auth else (url.username, "", url.password)
        # Messages name the address, so it must not hold the password.
        self.base_url = str(url.copy_with(userinfo=b"", query=None, fragment=None)).rstrip("/")
        options: dict[str, Any] = {
            "base_url": f"{self.base_url}/sdapi/v1",
            "auth": httpx.BasicAuth(user, password) if user else None,
            "timeout": _SHORT,
            "trust_env": False,
        }
        self._http = httpx.AsyncClient(**options)
        # A connection that was kept may be closed by the other side just when it is used again, and then nobody knows
        # whether the request was taken: a generation gets a fresh one.
        self._generating = httpx.AsyncClient(**options, limits=httpx.Limits(max_keepalive_connections=0))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._http.aclose()
        await self._generating.aclose()

    # Who it is, and what it has.

    async def identify(self, configured: Kind) -> Server:
        """Which server it is. Only newer builds of SD.Next answer `/version`; what does not is used as configured."""
        try:
            said = await self._get("/version")
        except TargetError as error:
            if error.status != 404:
                raise
            return Server(configured, None)
        if isinstance(said, Mapping) and said.get("app") == "sd.next":
            return Server(Kind.SDNEXT, str(said.get("updated") or "") or None)
        return Server(configured, None)

    async def checkpoints(self) -> list[str]:
        """The titles of its checkpoints."""
        return _names(await self._get("/sd-models"), "title")

    async def has_checkpoint(self, wanted: str) -> bool:
        """Whether it lists a checkpoint that a request may mean: by title, name, hash, or the name of its file.

        SD.Next takes one that it does not have for none and goes on with the model that is loaded.
        """
        lowered = wanted.lower()
        keys = ("title", "model_name", "hash", "sha256")
        for item in _items(await self._get("/sd-models")):
            names = {str(item[key]).lower() for key in keys if item.get(key)}
            file = str(item.get("filename") or "").replace("\\", "/").rpartition("/")[2].lower()
            if lowered in names | {file, file.rpartition(".")[0]}:
                return True
        return False

    async def samplers(self) -> list[str]:
        """The names of its samplers."""
        return _names(await self._get("/samplers"), "name")

    async def loras(self, kind: Kind) -> list[ListedLora]:
        """The LoRAs of its listing, with the names that a prompt must use.

        SD.Next is asked for its pages of networks, whose names are paths below its folder: `/loras` loses one of two
        files with the same base name.
        """
        listed: Any = None
        path = "filename"
        if kind is Kind.SDNEXT:
            try:
                listed = await self._get("/extra-networks", params={"page": "lora"}, timeout=_LISTING)
            except TargetError as error:
                if error.status != 404:  # which older builds answer
                    raise
        if listed is None:
            listed, path = await self._get("/loras", timeout=_LISTING), "path"
        return [
            ListedLora(str(item["name"]), str(item.get(path) or item["name"]), _hashes(item))
            for item in _items(listed)
            if item.get("name")
        ]

    async def rescan_loras(self) -> None:
        """Let it look at its folder of LoRAs again. Only a listing is changed by it."""
        await self._post("/refresh-loras", timeout=_LISTING)

    # Generating.

    async def generate(self, parameters: Mapping[str, Any], *, timeout: float) -> Any:
        """Generate and wait for it; the decoded answer.

        Args:
            parameters: as the server names them; with `init_images` it is an img2img.
            timeout: seconds for everything.

        Raises:
            TargetError: of one of its kinds.
        """
        path = "/img2img" if parameters.get("init_images") else "/txt2img"
        limits = httpx.Timeout(timeout, connect=5.0)
        return await self._post(path, body=parameters, timeout=limits, client=self._generating)

    async def progress(self, *, preview: bool) -> Any:
        """Where the server is; with a preview it decodes one, which costs it time."""
        return await self._get("/progress", params={"skip_current_image": "false" if preview else "true"})

    async def interrupt(self) -> None:
        """Ask for the end of whatever is being sampled. Outside the sampling SD.Next loses it: ask again."""
        await self._post("/interrupt")

    # Requests.

    async def _get(self, path: str, *, params: Mapping[str, str] | None = None, timeout: httpx.Timeout = _SHORT) -> Any:
        return await self._ask("GET", path, params=params, timeout=timeout)

    async def _post(
        self,
        path: str,
        *,
        body: Mapping[str, Any] | None = None,
        timeout: httpx.Timeout = _SHORT,
        client: httpx.AsyncClient | None = None,
    ) -> Any:
        return await self._ask("POST", path, body=body, timeout=timeout, client=client)

    async def _ask(self, method: str, path: str, *, client: httpx.AsyncClient | None = None, **options: Any) -> Any:
        status, body = await ask(client or self._http, self.base_url, method, path, most=_MAX_BODY, **options)
        if httpx.codes.is_success(status):
            return decoded(body, self.base_url, path, expected="SD.Next or A1111")
        raise self._refusal(status, body, path)

    def _refusal(self, status: int, body: bytes, path: str) -> TargetError:
        said = error_text(body)
        if status in (401, 403):
            return TargetError(
                f"{self.base_url} refuses the user and password ({said}): set them as user:password in the settings",
                status=status,
            )
        if status == 429:
            return BusyError(f"{self.base_url} is over its rate limit ({said})", status=status)
        return TargetError(f"{self.base_url} answered {status} to {path}: {said}", status=status)


def error_text(body: bytes) -> str:
    """What an error says, of any of its shapes: an exception, a validation, a handler's own word, a bare string."""
    try:
        said = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return plain_text(body)
    if isinstance(said, str):
        return said[:MAX_DETAIL]
    if not isinstance(said, Mapping):
        return "nothing"
    detail = said.get("detail")
    if isinstance(detail, list):
        return "; ".join(_validation(item) for item in detail)[:MAX_DETAIL] or "nothing"
    parts = (detail, said.get("errors"), said.get("body"), said.get("error"))
    return next((part[:MAX_DETAIL] for part in parts if isinstance(part, str) and part.strip()), "nothing")


def _validation(item: Any) -> str:
    if not isinstance(item, Mapping):
        return str(item)
    where = item.get("loc")
    name = ".".join(str(part) for part in where[1:]) if isinstance(where, list) else ""
    return f"{name}: {item.get('msg', '')}" if name else str(item.get("msg", ""))


def _items(value: Any) -> list[Mapping[str, Any]]:
    return [item for item in items(value) if isinstance(item, Mapping)]


def _names(value: Any, key: str) -> list[str]:
    return [str(item[key]) for item in _items(value) if item.get(key)]


def _hashes(item: Mapping[str, Any]) -> frozenset[str]:
    metadata = item.get("metadata")
    stated = [item.get("hash")]
    if isinstance(metadata, Mapping):
        stated.append(metadata.get("sshs_model_hash"))
    return frozenset(value.lower() for value in stated if isinstance(value, str) and value)
