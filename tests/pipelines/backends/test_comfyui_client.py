"""The client of ComfyUI against its fake, over real sockets."""

import asyncio
import uuid
from typing import Any

import pytest

from pipelines.backends.asking import TargetError, UnreachableError
from pipelines.backends.comfyui.client import ComfyClient, error_text
from pipelines.backends.comfyui.events import ProgressMeter, preview_of
from pipelines.backends.comfyui.workflow import Graph, LoraNode, default_template, fill
from tests.fakes.comfyui import FakeComfyUI
from tests.fakes.server import served
from tests.pipelines.backends.test_comfyui_workflow import VALUES


def graph_of(*loras: str, steps: int = 4) -> Graph:
    return fill(default_template(), {**VALUES, "steps": steps}, [LoraNode(name, 0.5, 0.5) for name in loras])


async def _wait(client: ComfyClient, prompt_id: str) -> Any:
    while (found := await client.finished(prompt_id)) is None:
        await asyncio.sleep(0.01)
    return found


def test_a_graph_is_followed_to_its_pictures() -> None:
    fake = FakeComfyUI(loras=["style/ink.safetensors"])

    async def run(url: str) -> None:
        async with ComfyClient(url) as client:
            assert await client.version() == "0.3.64"
            assert [lora.name for lora in await client.loras()] == ["style/ink.safetensors"]
            assert await client.checkpoints() == ["tiny.safetensors"]
            assert "euler" in await client.samplers()
            client_id, prompt_id, graph = uuid.uuid4().hex, uuid.uuid4().hex, graph_of("style/ink.safetensors")
            meter, fractions, previews = ProgressMeter(prompt_id, graph), [], 0

            async def follow() -> None:
                nonlocal previews
                async for message in client.listen(client_id):
                    if isinstance(message, bytes):
                        previews += preview_of(message) is not None
                    elif (progress := meter.read(message)) is not None:
                        fractions.append(progress.fraction)
                    if meter.is_over:
                        return

            following = asyncio.create_task(follow())
            await asyncio.sleep(0.2)
            await client.submit(graph, client_id=client_id, prompt_id=prompt_id)
            done = await _wait(client, prompt_id)
            await asyncio.wait_for(following, 5)
            assert done.succeeded
            assert (await client.picture(done.images[0])).startswith(b"\x89PNG")
            assert fractions == sorted(fractions)
            assert {0.25, 0.5, 0.75, 0.99} <= set(fractions)
            assert previews == 4

    with served(fake.app) as url:
        asyncio.run(run(url))


def test_a_refusal_names_the_node_and_what_is_wrong() -> None:
    async def run(url: str) -> None:
        async with ComfyClient(url) as client:
            await client.submit(graph_of("gone.safetensors"), client_id="a", prompt_id="b")

    with served(FakeComfyUI().app) as url, pytest.raises(TargetError, match=r"LoraLoader.*gone\.safetensors"):
        asyncio.run(run(url))


def test_a_graph_is_cancelled_waiting_and_running_and_no_other_with_it() -> None:
    fake = FakeComfyUI()

    async def run(url: str) -> None:
        async with ComfyClient(url) as client:
            for name in ("running", "waiting", "other"):
                graph = graph_of(steps=50)
                graph["sampler"]["inputs"]["seed"] = hash(name)
                await client.submit(graph, client_id="a", prompt_id=name)
            await asyncio.sleep(0.1)
            assert await client.is_queued("waiting")
            await client.cancel("waiting")
            await client.cancel("running")
            assert (await _wait(client, "running")).interrupted
            assert (await _wait(client, "other")).succeeded
            assert await client.finished("waiting") is None
            assert not await client.is_queued("waiting")

    with served(fake.app) as url:
        asyncio.run(run(url))
    assert fake.executed == 2


def test_a_failure_is_told_with_its_node() -> None:
    async def run(url: str) -> Any:
        async with ComfyClient(url) as client:
            await client.submit(graph_of(), client_id="a", prompt_id="b")
            return await _wait(client, "b")

    with served(FakeComfyUI(fails_in="KSampler").app) as url:
        done = asyncio.run(run(url))
    assert not done.succeeded
    assert "KSampler (sampler): RuntimeError: CUDA out of memory" in str(done.error)


def test_nothing_at_the_address_is_told() -> None:
    async def run() -> None:
        async with ComfyClient("http://127.0.0.1:9") as client:
            await client.version()

    with pytest.raises(UnreachableError, match="start it"):
        asyncio.run(run())


def test_messages_of_other_graphs_and_nonsense_change_nothing() -> None:
    meter = ProgressMeter("mine", graph_of())
    for message in (
        "{",
        "[]",
        '{"type": "progress", "data": {"prompt_id": "other", "node": "sampler", "value": 1, "max": 2}}',
        '{"type": "progress", "data": {"prompt_id": "mine", "node": "sampler", "value": 3, "max": 2}}',
        '{"type": "status", "data": {"status": {}}}',
    ):
        assert meter.read(message) is None
    assert not meter.is_over
    assert preview_of(b"\0\0\0\1") is None
    assert preview_of(b"\0\0\0\3" + b"x" * 20) is None


@pytest.mark.parametrize(
    ("raw", "text"), [(b"", "nothing"), (b"<html>", "<html>"), (b'{"error": "plain"}', "plain"), (b"[1]", "nothing")]
)
def test_errors_of_any_shape(raw: bytes, text: str) -> None:
    assert error_text(raw) == text
