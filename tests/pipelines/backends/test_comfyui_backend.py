"""The backend `comfyui` against the fake of its server, over real sockets."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from pipelines.backends.comfyui import backend as module
from pipelines.backends.comfyui.backend import PLUGIN, ComfyBackend
from pipelines.backends.comfyui.samplers import comfy_names
from pipelines.backends.comfyui.workflow import default_template
from tests.fakes.comfyui import FakeComfyUI
from tests.fakes.server import served
from tests.pipelines.backends.work import Done, claimed, follow, library, work
from warehouse.backends import ParamsError, check_params
from warehouse.generating import Failure
from warehouse.ids import new_id
from warehouse.jobs import ClaimedJob, JobStatus
from warehouse.pictures import PictureStore
from warehouse.settings import Settings

SMALL: dict[str, Any] = {"steps": 4, "width": 64, "height": 64}


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.1)


@pytest.fixture
def tables(settings: Settings) -> Settings:
    """Settings of a data folder with empty tables."""
    return library(settings)


def configured(settings: Settings, url: str, **values: Any) -> Settings:
    """Settings that name a fake."""
    return settings.model_copy(update={"comfyui_url": url, **values})


def generate(fake: FakeComfyUI, settings: Settings, prompt: str = "a dragon", *jobs: ClaimedJob, **params: Any) -> Done:
    """One generation by a fake; the last, of several jobs."""
    interrupt_at = params.pop("interrupt_at", None)
    given = jobs or (claimed("comfyui", prompt, **{**SMALL, **params}),)
    with served(fake.app) as url:
        return work(PLUGIN, configured(settings, url), *given, interrupt_at=interrupt_at)[-1]


def during(fake: FakeComfyUI, settings: Settings, act: Callable[[ComfyBackend], Awaitable[Any]]) -> Any:
    """Do something with a backend of a fake."""

    async def run(url: str) -> Any:
        backend = ComfyBackend(configured(settings, url))
        try:
            return await act(backend)
        finally:
            await backend.close()

    with served(fake.app) as url:
        return asyncio.run(run(url))


def test_a_generation_has_its_picture_and_its_loras(settings: Settings) -> None:
    fake = FakeComfyUI(loras=["style\\ink_v2.safetensors", "plain.safetensors"], step_seconds=0.03)
    tables = library(settings, {"name": "Ink Dragon", "file_path": "/library/style/ink_v2.safetensors"})
    prompt = "a dragon, <lora:Ink Dragon:0.75:0.5> <lora:plain:1:te=0> <lora:gone:1> <lora:plain:0>"
    done = generate(fake, tables, prompt, sampler_name="DPM++ 2M Karras", width=70)
    assert done.outcome.status is JobStatus.SUCCEEDED
    (graph,) = fake.graphs
    assert graph["positive"]["inputs"]["text"] == "a dragon,"
    assert [graph[node]["inputs"]["lora_name"] for node in ("lora-1", "lora-2")] == fake.loras
    strengths = [
        (graph[node]["inputs"]["strength_model"], graph[node]["inputs"]["strength_clip"])
        for node in ("lora-1", "lora-2")
    ]
    assert strengths == [(0.5, 0.75), (1, 0)]
    assert (graph["sampler"]["inputs"]["sampler_name"], graph["sampler"]["inputs"]["scheduler"]) == (
        "dpmpp_2m",
        "karras",
    )
    report = done.result["lora_report"]
    assert [entry["name"] for entry in report["applied"]] == ["Ink Dragon", "plain"]
    assert [entry["name"] for entry in report["unknown"]] == ["gone"]
    assert any("width 70" in text for text in done.result["warnings"])
    (picture,) = done.result["pictures"]
    assert PictureStore(tables.pictures_dir).get(picture["sha256"])
    assert picture["seed"] == graph["sampler"]["inputs"]["seed"]
    percents = [progress.percent for progress in done.progress]
    assert percents == sorted(percents)
    assert max(percents) == 99
    assert sum("preview" in progress.details for progress in done.progress) == 1
    assert done.result["server"] == {"kind": "comfyui", "version": "0.3.64", "url": done.result["server"]["url"]}


def test_a_seed_that_no_one_chose_is_ours_and_the_same_in_each_attempt(tables: Settings) -> None:
    fake = FakeComfyUI()
    key = new_id()
    jobs = [claimed("comfyui", key=key, seed=-1, **SMALL), claimed("comfyui", seed=-1, **SMALL)]
    generate(fake, tables, "", *jobs)
    first, second = (graph["sampler"]["inputs"]["seed"] for graph in fake.graphs)
    assert first != second
    again = FakeComfyUI()
    generate(again, tables, "", claimed("comfyui", key=key, seed=-1, attempts=2, **SMALL))
    assert again.graphs[0]["sampler"]["inputs"]["seed"] == first


def test_after_a_crash_what_is_done_is_found_and_not_done_again(tables: Settings) -> None:
    fake = FakeComfyUI(step_seconds=0.03)
    key = new_id()

    async def act(backend: ComfyBackend) -> Done:
        first = asyncio.create_task(follow(backend, claimed("comfyui", key=key, **SMALL)))
        while not fake.executed:
            await asyncio.sleep(0.01)
        first.cancel()  # as a lane that is stopped; the graph runs on
        await asyncio.gather(first, return_exceptions=True)
        running = await follow(backend, claimed("comfyui", key=key, attempts=2, **SMALL))
        assert running.outcome.status is JobStatus.SUCCEEDED
        return await follow(backend, claimed("comfyui", key=key, attempts=2, **SMALL))

    done = during(fake, tables, act)
    assert done.outcome.status is JobStatus.SUCCEEDED
    assert fake.executed == 1


def test_a_graph_that_failed_in_an_earlier_life_of_the_job_is_tried_anew(tables: Settings) -> None:
    fake = FakeComfyUI(fails_in="KSampler")
    key = new_id()

    async def act(backend: ComfyBackend) -> list[Done]:
        first = await follow(backend, claimed("comfyui", key=key, **SMALL))
        after_crash = await follow(backend, claimed("comfyui", key=key, attempts=2, **SMALL))
        fake.fails_in = None
        return [first, after_crash, await follow(backend, claimed("comfyui", key=key, attempts=1, **SMALL))]

    first, after_crash, retried = during(fake, tables, act)
    assert (first.outcome.status, first.result["failure"]) == (JobStatus.FAILED, Failure.ERROR)
    assert "KSampler (sampler): RuntimeError: CUDA out of memory" in str(first.outcome.error)
    assert after_crash.outcome.status is JobStatus.FAILED
    assert retried.outcome.status is JobStatus.SUCCEEDED
    assert fake.executed == 2


def test_a_cancel_stops_this_graph_alone(tables: Settings) -> None:
    fake = FakeComfyUI(step_seconds=0.02)

    async def act(backend: ComfyBackend) -> tuple[Done, Any]:
        stopped = await follow(backend, claimed("comfyui", **{**SMALL, "steps": 150}), interrupt_at=1.0)
        return stopped, await follow(backend, claimed("comfyui", **SMALL))

    cancelled, after = during(fake, tables, act)
    assert cancelled.outcome.status is JobStatus.CANCELLED
    assert cancelled.outcome.result is None
    assert after.outcome.status is JobStatus.SUCCEEDED


def test_a_cancel_takes_a_waiting_graph_out_of_the_queue(tables: Settings) -> None:
    fake = FakeComfyUI(step_seconds=0.02)

    async def act(backend: ComfyBackend) -> Done:
        other = backend.client
        graph = module.fill(default_template(), _values(150), [])
        await other.submit(graph, client_id="other", prompt_id="other")
        submission = await backend.submit(claimed("comfyui", **SMALL))
        while not await other.is_queued(submission.id):
            await asyncio.sleep(0.01)
        await submission.interrupt()
        done = Done(await submission.result())
        assert await other.is_queued("other")
        return done

    assert during(fake, tables, act).outcome.status is JobStatus.CANCELLED
    assert fake.executed == 1


def _values(steps: int) -> dict[str, Any]:
    return {
        "checkpoint": "tiny.safetensors",
        "prompt": "",
        "negative_prompt": "",
        "width": 64,
        "height": 64,
        "batch_size": 1,
        "seed": 1,
        "steps": steps,
        "cfg_scale": 7,
        "sampler_name": "euler",
        "scheduler": "normal",
        "clip_stop": -1,
    }


def test_progress_goes_on_after_the_connection_broke(tables: Settings) -> None:
    fake = FakeComfyUI(step_seconds=0.05)

    async def act(backend: ComfyBackend) -> tuple[Done, list[float]]:
        submission = await backend.submit(claimed("comfyui", **{**SMALL, "steps": 40}))
        before_and_after: list[list[float]] = [[], []]
        dropped = 0
        async for progress in submission.events():
            before_and_after[dropped].append(progress.percent)
            if not dropped and progress.percent > 10:
                assert fake.loop is not None
                await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(fake.drop_sockets(), fake.loop))
                dropped = 1
        return Done(await submission.result()), before_and_after[1]

    done, after = during(fake, tables, act)
    assert done.outcome.status is JobStatus.SUCCEEDED
    assert any(percent > 30 for percent in after)


def test_a_server_that_was_started_anew_is_asked_again(tables: Settings) -> None:
    done = generate(FakeComfyUI(loses_history=True), tables)
    assert (done.outcome.status, done.result["failure"]) == (JobStatus.PENDING, Failure.LOST)


def test_what_takes_too_long_is_stopped(tables: Settings) -> None:
    fake = FakeComfyUI(step_seconds=0.05)
    done = generate(fake, tables.model_copy(update={"generation_timeout_seconds": 0.5}), steps=150)
    assert (done.outcome.status, done.result["failure"]) == (JobStatus.FAILED, Failure.TIMEOUT)


def test_a_server_that_is_away_is_tried_again(tables: Settings) -> None:
    (done,) = work(PLUGIN, configured(tables, "http://127.0.0.1:9"), claimed("comfyui"))
    assert (done.outcome.status, done.result["failure"]) == (JobStatus.PENDING, Failure.UNREACHABLE)


def test_what_is_missing_is_told_before_anything_is_made(tables: Settings) -> None:
    fake = FakeComfyUI()
    done = generate(fake, tables, "<lora:gone:1>", strict_loras=True)
    assert (done.outcome.status, done.result["failure"]) == (JobStatus.FAILED, Failure.LORAS)
    done = generate(fake, tables, sd_model_checkpoint="gone")
    assert "no checkpoint 'gone'. It has: tiny.safetensors" in str(done.outcome.error)
    assert fake.executed == 0


def test_workflows_of_the_operator_and_of_the_client(tables: Settings, tmp_path: Path) -> None:
    own = {**default_template(), "saved": {"class_type": "SaveImage", "inputs": {"images": ["decoded", 0]}}}
    own["saved"]["inputs"]["filename_prefix"] = "{{album}}"
    file = tmp_path / "workflow.json"
    file.write_text(json.dumps(own))
    fake = FakeComfyUI()
    settings = tables.model_copy(update={"comfyui_workflow": file})
    assert generate(fake, settings, album="mine").outcome.status is JobStatus.SUCCEEDED
    done = generate(fake, settings)
    assert (done.outcome.status, done.result["failure"]) == (JobStatus.FAILED, Failure.REFUSED)
    assert "album" in str(done.outcome.error)
    assert generate(fake, settings, workflow=own, album="of the client").outcome.status is JobStatus.SUCCEEDED
    file.unlink()
    assert "cannot be read" in str(generate(fake, settings).outcome.error)
    prefixes = [graph["saved"]["inputs"]["filename_prefix"] for graph in fake.graphs]
    assert prefixes == ["mine", "of the client"]


@pytest.mark.parametrize(
    ("params", "loc"),
    [
        ({"n_iter": 2}, ("n_iter",)),
        ({"workflow": {"nodes": [], "links": []}}, ("workflow",)),
        ({"workflow": {"1": {"class_type": "X", "inputs": {"a": "{{what}}"}}}}, ("workflow",)),
    ],
)
def test_what_cannot_be_done_is_refused(settings: Settings, params: dict[str, Any], loc: tuple[str, ...]) -> None:
    with pytest.raises(ParamsError) as refusal:
        check_params(PLUGIN, "a dragon", params, settings)
    assert [complaint.loc for complaint in refusal.value.complaints] == [loc]


@pytest.mark.parametrize(
    ("sampler", "schedule", "names"),
    [
        ("", "", ("euler", "normal")),
        ("Euler a", "", ("euler_ancestral", "normal")),
        ("DPM++ 2M Karras", "", ("dpmpp_2m", "karras")),
        ("DPM++ 2M Karras", "Exponential", ("dpmpp_2m", "exponential")),
        ("DPM++ 3M SDE", "SGM Uniform", ("dpmpp_3m_sde", "sgm_uniform")),
        ("res_multistep", "kl_optimal", ("res_multistep", "kl_optimal")),
        ("UniPC", "Automatic", ("uni_pc", "normal")),
    ],
)
def test_names_of_samplers(sampler: str, schedule: str, names: tuple[str, str]) -> None:
    assert comfy_names(sampler, schedule) == names
