"""The backend `diffusers` with a tiny model that is made here: a real process, real weights, real pictures."""

import asyncio
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil
import pytest

from pipelines.backends.diffusers.backend import PLUGIN, DiffusersBackend
from tests.pipelines.backends.work import Done, claimed, follow, library
from warehouse.backends import ParamsError, check_params
from warehouse.generating import Failure
from warehouse.jobs import JobStatus
from warehouse.settings import Settings

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("diffusers"),
    # Looked up, not imported: it takes seconds, in every process that collects tests.
    pytest.mark.skipif(find_spec("diffusers") is None, reason="the extra `diffusers` is not installed"),
]

SMALL: dict[str, Any] = {"steps": 3, "width": 64, "height": 64, "seed": 7}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the tiny model and its LoRAs."""
    folder = tmp_path_factory.mktemp("tiny")
    command = [sys.executable, "-m", "tests.pipelines.backends.tiny_model", str(folder)]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "HF_HUB_OFFLINE": "1"})
    (folder / "broken.safetensors").write_bytes(b"no weights")
    return folder


def configured(settings: Settings, models: Path, **values: Any) -> Settings:
    return settings.model_copy(update={"diffusers_model": models / "model", "device": "cpu", **values})


def _children() -> list[int]:
    return [child.pid for child in psutil.Process().children() if "worker" in " ".join(child.cmdline())]


def test_a_lane_of_generations(settings: Settings, models: Path) -> None:
    """One process for all of them, as in a lane: its start is what takes long."""
    names = ("good", "other", "broken")
    adapters = [{"name": name, "file_path": str(models / f"{name}.safetensors")} for name in names]
    adapters.append({"name": "absent", "file_path": str(models / "absent.safetensors")})
    backend = DiffusersBackend(configured(library(settings, *adapters), models))

    async def generate(prompt: str, **params: Any) -> Done:
        return await follow(backend, claimed("diffusers", prompt, **{**SMALL, **params}))

    async def run() -> None:
        plain = await generate("a dragon", n_iter=2)
        assert plain.outcome.status is JobStatus.SUCCEEDED, plain.outcome
        assert [picture["seed"] for picture in plain.result["pictures"]] == [7, 8]
        assert plain.result["pictures"][0]["infotext"].startswith("a dragon\nSteps: 3, CFG scale: 7.0, Seed: 7, Size:")
        assert [progress.details["step"] for progress in plain.progress][-1] <= 6
        assert all(progress.details["steps"] == 6 for progress in plain.progress)
        (worker,) = _children()
        first = plain.result["pictures"][0]["sha256"]

        with_lora = await generate("a dragon <lora:good:1>")
        assert [entry["name"] for entry in with_lora.result["lora_report"]["applied"]] == ["good"]
        half = await generate("a dragon <lora:good:0.5>")
        without = await generate("a dragon")
        digests = [done.result["pictures"][0]["sha256"] for done in (with_lora, half, without)]
        assert len({first, *digests}) == 3, "a LoRA shows, by its weight"
        assert digests[2] == first, "and leaves nothing behind"

        report = (await generate("a dragon <lora:other:1> <lora:broken:1> <lora:absent:1> <lora:gone:1>")).result
        assert [entry["name"] for entry in report["lora_report"]["incompatible"]] == ["other", "broken"]
        assert [entry["name"] for entry in report["lora_report"]["unknown"]] == ["absent", "gone"]
        assert report["pictures"][0]["sha256"] == first
        strict = await generate("<lora:other:1>", strict_loras=True)
        assert (strict.outcome.status, strict.result["failure"]) == (JobStatus.FAILED, Failure.LORAS)
        assert "other does not fit" in str(strict.outcome.error)
        missing = await generate("<lora:gone:1>", strict_loras=True)
        assert missing.result["failure"] == Failure.LORAS

        karras = await generate("a dragon", sampler_name="DPM++ 2M", scheduler="karras")
        assert karras.result["pictures"][0]["sha256"] != first
        job = claimed("diffusers", **{**SMALL, "steps": 150, "n_iter": 100})
        stopped = await follow(backend, job, interrupt_at=0.1)
        assert (stopped.outcome.status, stopped.outcome.result) == (JobStatus.CANCELLED, None)
        assert (await generate("a dragon")).result["pictures"][0]["sha256"] == first
        assert _children() == [worker], "the model stays loaded"

        dying = asyncio.create_task(follow(backend, job))
        await asyncio.sleep(0.3)
        psutil.Process(worker).kill()
        dead = await dying
        assert (dead.outcome.status, dead.result["failure"]) == (JobStatus.FAILED, Failure.ERROR)
        assert "signal 9" in str(dead.outcome.error)
        await backend.close()
        assert _children() == []

    asyncio.run(run())


def test_a_model_that_is_not_there_is_told(settings: Settings, models: Path) -> None:
    backend = DiffusersBackend(configured(library(settings), models, diffusers_model=models / "gone"))

    async def run() -> Done:
        done = await follow(backend, claimed("diffusers", **SMALL))
        await backend.close()
        return done

    done = asyncio.run(run())
    assert (done.outcome.status, done.result["failure"]) == (JobStatus.FAILED, Failure.REFUSED)
    assert "LORA_MANAGER_DIFFUSERS_MODEL" in str(done.outcome.error)


def test_what_takes_too_long_or_nobody_waits_for_is_ended_with_its_process(settings: Settings, models: Path) -> None:
    tables = configured(library(settings), models)

    async def run() -> None:
        hasty = DiffusersBackend(tables.model_copy(update={"generation_timeout_seconds": 0.2}))
        done = await follow(hasty, claimed("diffusers", **SMALL))
        assert (done.outcome.status, done.result["failure"]) == (JobStatus.FAILED, Failure.TIMEOUT)
        assert _children() == []
        await hasty.close()
        left = DiffusersBackend(tables)
        following = asyncio.create_task(follow(left, claimed("diffusers", **SMALL)))
        while not _children():
            await asyncio.sleep(0.01)
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
        assert _children() == []
        await left.close()

    asyncio.run(run())


def test_a_sampler_that_there_is_not_is_refused(settings: Settings) -> None:
    with pytest.raises(ParamsError, match="sampler_name: is none of euler"):
        check_params(PLUGIN, "a dragon", {"sampler_name": "Restart"}, settings)
    assert check_params(PLUGIN, "a dragon", {"sampler_name": "DPM++ 2M Karras"}, settings)
    assert not PLUGIN.is_configured(settings)
