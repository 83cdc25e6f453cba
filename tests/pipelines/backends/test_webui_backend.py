"""The backends `sdnext` and `a1111` against the fakes of their servers, over real sockets."""

import asyncio
import base64
from collections.abc import Callable
from typing import Any

import pytest

from pipelines.backends.pictures import PREVIEW_BYTES
from pipelines.backends.webui import backend as module
from pipelines.backends.webui.backend import A1111, SDNEXT
from tests.fakes.sdnext import Dialect, FakeLora, FakeSDNext, Fault, Mishap
from tests.fakes.server import served
from tests.pipelines.backends.work import Done, claimed, follow, library, work
from warehouse.backends import ParamsError, check_params
from warehouse.generating import Failure
from warehouse.jobs import JobStatus
from warehouse.pictures import PictureFormat, PictureStore
from warehouse.settings import Settings

SMALL: dict[str, Any] = {"steps": 2, "width": 64, "height": 64, "seed": 1}
PAYLOAD = "ab" * 32
Generate = Callable[..., Done]


def configured(settings: Settings, url: str, **values: Any) -> Settings:
    """Settings that name a fake as both servers."""
    return settings.model_copy(update={"sdnext_url": url, "a1111_url": url, **values})


@pytest.fixture
def tables(settings: Settings) -> Settings:
    """Settings of a data folder with empty tables."""
    return library(settings)


def generate(fake: FakeSDNext, settings: Settings, prompt: str = "a dragon", **params: Any) -> Done:
    """One generation by a fake."""
    plugin = SDNEXT if fake.dialect is Dialect.SDNEXT else A1111
    interrupt_at = params.pop("interrupt_at", None)
    attempts = params.pop("attempts", 1)
    job = claimed(plugin.name, prompt, attempts=attempts, **{**SMALL, **params})
    with served(fake.app) as url:
        (done,) = work(plugin, configured(settings, url), job, interrupt_at=interrupt_at)
    return done


@pytest.mark.parametrize(
    ("dialect", "samples", "kept"),
    [
        (Dialect.SDNEXT, None, PictureFormat.JPEG),
        (Dialect.SDNEXT, "png", PictureFormat.PNG),
        (Dialect.A1111, None, PictureFormat.PNG),
        (Dialect.A1111, "jpg", PictureFormat.JPEG),
    ],
)
def test_pictures_are_kept_by_what_they_are_and_described(
    tables: Settings, dialect: Dialect, samples: str | None, kept: PictureFormat
) -> None:
    fake = FakeSDNext(dialect, samples_format=samples)
    done = generate(fake, tables, batch_size=2, negative_prompt="blur")
    assert done.outcome.status is JobStatus.SUCCEEDED
    first, second = done.result["pictures"]
    assert (first["format"], first["width"], first["height"]) == (kept.value, 64, 64)
    assert [first["seed"], second["seed"]] == [1, 2]
    assert first["infotext"].startswith("a dragon\nNegative prompt: blur\nSteps: 2")
    data = PictureStore(tables.pictures_dir).get(first["sha256"])
    assert data is not None
    assert len(data) == first["size"]
    assert done.result["info"]["all_seeds"] == [1, 2]
    assert done.result["parameters"]["steps"] == 2
    assert done.result["backend"] == dialect.value
    assert done.result["server"]["kind"] == dialect.value
    assert done.result["warnings"] == []
    assert done.result["generation_time"] > 0
    assert done.outcome.preview is not None


def test_progress_rises_over_sub_jobs_and_passes(tables: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.03)
    done = generate(FakeSDNext(step_seconds=0.12), tables, steps=8, n_iter=2)
    percents = [progress.percent for progress in done.progress]
    assert percents == sorted(percents)
    assert any(0 < percent < 50 for percent in percents)
    assert any(50 < percent < 100 for percent in percents)
    assert {progress.details["steps"] for progress in done.progress if progress.details["step"]} == {8}
    assert any(progress.details.get("eta", -1) >= 0 for progress in done.progress)


def test_progress_of_a_server_without_sub_jobs(tables: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.03)
    done = generate(FakeSDNext(Dialect.A1111, step_seconds=0.12), tables, steps=8, n_iter=2)
    percents = [progress.percent for progress in done.progress]
    assert percents == sorted(percents)
    assert len(set(percents)) > 3


def test_a_preview_is_shown_small_and_only_if_it_is_wanted(tables: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.05)
    shown = generate(FakeSDNext(step_seconds=0.05, preview_side=2048), tables, steps=10).progress
    previews = [progress.details["preview"] for progress in shown if "preview" in progress.details]
    assert len(previews) == 1, "at most one in two seconds"
    assert 0 < len(base64.b64decode(previews[0])) <= PREVIEW_BYTES
    unwanted = FakeSDNext(step_seconds=0.05)
    done = generate(unwanted, tables, steps=10, live_preview=False)
    assert not any("preview" in progress.details for progress in done.progress)
    assert unwanted._preview is None


def test_an_interrupt_is_repeated_until_it_is_heard_and_what_comes_back_is_no_result(tables: Settings) -> None:
    fake = FakeSDNext(step_seconds=0.05, before_seconds=0.2)
    done = generate(fake, tables, steps=150, interrupt_at=0.0)
    assert done.outcome.status is JobStatus.CANCELLED
    assert "nothing was sent" in str(done.outcome.error)
    done = generate(fake, tables, steps=150, interrupt_at=0.001)
    assert done.outcome.status is JobStatus.CANCELLED
    assert done.outcome.result is None
    assert fake.interrupts_taken >= 1
    assert fake.generated == 0
    assert not PictureStore(tables.pictures_dir).path_of("0" * 64)
    assert not tables.pictures_dir.exists()


def test_interrupts_before_the_sampling_are_lost_and_sent_again(tables: Settings) -> None:
    fake = FakeSDNext(step_seconds=0.05, before_seconds=0.4)

    async def run(url: str) -> Done:
        backend = SDNEXT.open(configured(tables, url))
        try:
            submission = await backend.submit(claimed("sdnext", **{**SMALL, "steps": 150}))
            while not fake.most_in_flight and not submission.is_over:
                await asyncio.sleep(0.01)
            await submission.interrupt()
            return Done(await submission.result())
        finally:
            await backend.close()

    with served(fake.app) as url:
        done = asyncio.run(run(url))
    assert done.outcome.status is JobStatus.CANCELLED
    assert fake.interrupts_lost >= 2
    assert fake.interrupts_taken >= 1
    assert fake.generated == 0


@pytest.mark.parametrize(
    ("mishap", "failure", "word"),
    [
        (Mishap.OUT_OF_MEMORY, Failure.NO_PICTURE, "made no picture"),
        (Mishap.NO_MODEL, Failure.NO_PICTURE, "no model loaded"),
        (Mishap.EXCEPTION, Failure.ERROR, "CUDA error"),
        (Mishap.TYPE_ERROR, Failure.ERROR, "unsupported operand"),
        (Mishap.HANG_UP, Failure.LOST, "not known"),
    ],
)
def test_what_goes_wrong_on_the_server_fails_with_its_kind(
    tables: Settings, mishap: Mishap, failure: Failure, word: str
) -> None:
    fake = FakeSDNext()
    fake.mishaps.append(mishap)
    done = generate(fake, tables)
    assert done.outcome.status is JobStatus.FAILED
    assert done.result["failure"] == failure
    assert word in str(done.outcome.error)


def test_what_the_server_refuses_is_told(tables: Settings) -> None:
    done = generate(FakeSDNext(), tables, sampler_name="Nonesuch")
    assert (done.outcome.status, done.result["failure"]) == (JobStatus.FAILED, Failure.REFUSED)
    assert "Sampler not found" in str(done.outcome.error)
    done = generate(FakeSDNext(auth="me:secret"), tables)
    assert (done.outcome.status, done.result["failure"]) == (JobStatus.FAILED, Failure.REFUSED)
    for place in ({"sd_model_checkpoint": "gone"}, {"override_settings": {"sd_model_checkpoint": "gone"}}):
        fake = FakeSDNext()
        done = generate(fake, tables, **place)
        assert done.result["failure"] == Failure.REFUSED
        assert "no checkpoint 'gone'. It has: Diffusers/tiny-sd" in str(done.outcome.error)
        assert fake.generated == 0


def test_the_password_is_sent_with_every_request(tables: Settings) -> None:
    fake = FakeSDNext(auth="me:secret")
    with served(fake.app) as url:
        given = Settings(_env_file=None, data_dir=tables.data_dir, sdnext_url=url, sdnext_auth="me:secret")  # type: ignore[call-arg, arg-type]
        (done,) = work(SDNEXT, given, claimed("sdnext", **SMALL))
    assert done.outcome.status is JobStatus.SUCCEEDED
    assert "secret" not in str(done.result)


def test_over_the_limit_of_requests_it_is_tried_later(tables: Settings) -> None:
    done = generate(FakeSDNext(rate_limit=4), tables)
    assert (done.outcome.status, done.outcome.retry_in) == (JobStatus.PENDING, module.BUSY_PAUSE)
    assert done.result["failure"] == Failure.BUSY


def test_a_server_that_is_away_is_tried_again(tables: Settings) -> None:
    (done,) = work(SDNEXT, configured(tables, "http://127.0.0.1:9"), claimed("sdnext"))
    assert done.outcome.status is JobStatus.PENDING
    assert done.result["failure"] == Failure.UNREACHABLE
    assert "start it, or correct its address" in str(done.outcome.error)


def test_what_takes_too_long_is_stopped(tables: Settings) -> None:
    fake = FakeSDNext(step_seconds=0.05)
    with served(fake.app) as url:
        settings = configured(tables, url, generation_timeout_seconds=0.5)
        (done,) = work(SDNEXT, settings, claimed("sdnext", **{**SMALL, "steps": 150}))
    assert (done.outcome.status, done.result["failure"]) == (JobStatus.FAILED, Failure.TIMEOUT)
    assert fake.interrupts_taken >= 1
    assert fake.generated == 0


def test_a_lost_connection_is_waited_for_and_nothing_is_sent_twice(
    tables: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.05)
    fake = FakeSDNext(step_seconds=0.05)
    fake.mishaps.append(Mishap.HANG_UP_AND_WORK)
    with served(fake.app) as url:
        jobs = [claimed("sdnext", **{**SMALL, "steps": 20}), claimed("sdnext", **SMALL)]
        lost, after = work(SDNEXT, configured(tables, url), *jobs)
    assert (lost.outcome.status, lost.result["failure"]) == (JobStatus.FAILED, Failure.LOST)
    assert after.outcome.status is JobStatus.SUCCEEDED
    assert fake.most_in_flight == 1
    assert fake.generated == 2


def test_one_request_is_in_flight_even_after_a_lane_died(tables: Settings) -> None:
    """The server goes on with what nobody waits for: the next attempt begins when it is done."""
    fake = FakeSDNext(step_seconds=0.05)
    job = claimed("sdnext", **{**SMALL, "steps": 30})

    async def die(url: str) -> None:
        client = module.WebUIClient(url)
        sending = asyncio.create_task(client.generate({"prompt": "a dragon", "steps": 30}, timeout=10))
        while not fake.most_in_flight:
            await asyncio.sleep(0.01)
        sending.cancel()
        await asyncio.gather(sending, return_exceptions=True)
        await client.close()

    with served(fake.app) as url:
        asyncio.run(die(url))
        (done,) = work(SDNEXT, configured(tables, url), job)
    assert done.outcome.status is JobStatus.SUCCEEDED
    assert fake.most_in_flight == 1


def test_a_lane_that_ends_calls_the_server_off(tables: Settings) -> None:
    fake = FakeSDNext(step_seconds=0.05, before_seconds=0.0)

    async def run(url: str) -> None:
        backend = SDNEXT.open(configured(tables, url))
        following = asyncio.create_task(follow(backend, claimed("sdnext", **{**SMALL, "steps": 150})))
        while not fake._job.step:
            await asyncio.sleep(0.01)
        following.cancel()
        with pytest.raises(asyncio.CancelledError):
            await following
        await backend.close()

    with served(fake.app) as url:
        asyncio.run(run(url))
    assert fake.interrupts_taken == 1
    assert fake.generated == 0


def test_a_server_that_only_says_it_is_at_work_is_not_waited_for_forever(
    tables: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(module, "STUCK_SECONDS", 0.2)
    assert generate(FakeSDNext(stuck_in="API-TXT"), tables).outcome.status is JobStatus.SUCCEEDED


def test_names_are_rewritten_by_path_and_by_hash(settings: Settings) -> None:
    loras = [FakeLora("style/ink_v2", "cd" * 32), FakeLora("people/renamed", PAYLOAD)]
    fake = FakeSDNext(loras=loras)
    fake._hashed.add("people/renamed")
    tables = library(
        settings,
        {"name": "Ink Dragon", "file_path": "/library/style/ink_v2.safetensors"},
        {"name": "Person", "file_path": "/library/original.safetensors", "payload_sha256": PAYLOAD},
        {"name": "Absent", "file_path": "/library/absent.safetensors"},
    )
    prompt = "x <lora:Ink Dragon:0.75> <lora:Person:1> <lora:Absent:1> <lora:stranger:0.5>"
    done = generate(fake, tables, prompt)
    sent = next(body for _, path, body in fake.requests if path.endswith("txt2img"))
    assert sent["prompt"] == "x <lora:style/ink_v2:0.75> <lora:people/renamed:1> <lora:Absent:1> <lora:stranger:0.5>"
    report = done.result["lora_report"]
    assert [(entry["name"], entry["sent_as"], entry["weight"]) for entry in report["applied"]] == [
        ("Ink Dragon", "style/ink_v2", 0.75),
        ("Person", "people/renamed", 1.0),
    ]
    assert all(entry["lora_id"] for entry in report["applied"])
    assert [(entry["name"], entry["lora_id"] is None) for entry in report["unknown"]] == [
        ("Absent", False),
        ("stranger", True),
    ]
    assert [text.split(" is not among")[0] for text in done.result["warnings"]] == ["Absent", "stranger"]
    assert sum(path.endswith("refresh-loras") for _, path, _ in fake.requests) == 1


def test_of_several_versions_the_active_one_is_meant(settings: Settings) -> None:
    fake = FakeSDNext(loras=[FakeLora("ink_v1"), FakeLora("ink_v2")])
    tables = library(
        settings,
        {"name": "Ink", "version": "1", "file_path": "/library/ink_v1.safetensors", "active": True},
        {"name": "Ink", "version": "2", "file_path": "/library/ink_v2.safetensors"},
    )
    done = generate(fake, tables, "<lora:Ink:1>")
    assert done.result["lora_report"]["applied"][0]["sent_as"] == "ink_v1"
    assert done.result["warnings"] == ["Ink has 2 versions: version 1, which is active, was taken"]


@pytest.mark.parametrize("dialect", list(Dialect))
def test_a_lora_that_was_not_applied_is_a_warning_or_a_failure(tables: Settings, dialect: Dialect) -> None:
    loras = [FakeLora("good", PAYLOAD), FakeLora("broken", fault=Fault.CORRUPT)]
    prompt = "<lora:good:1> <lora:broken:1>"
    done = generate(FakeSDNext(dialect, loras=loras), tables, prompt)
    assert [entry["name"] for entry in done.result["lora_report"]["incompatible"]] == ["broken"]
    assert "broken was not applied" in done.result["warnings"][0]
    done = generate(FakeSDNext(dialect, loras=loras), tables, prompt, strict_loras=True)
    assert (done.outcome.status, done.result["failure"]) == (JobStatus.FAILED, Failure.LORAS)
    assert done.result["lora_report"]["incompatible"]
    fake = FakeSDNext(dialect, loras=loras)
    done = generate(fake, tables, "<lora:gone:1>", strict_loras=True)
    assert (done.outcome.status, done.result["failure"]) == (JobStatus.FAILED, Failure.LORAS)
    assert fake.generated == 0, "what is known to be missing is not tried"


def test_wrong_shapes_cannot_be_known(tables: Settings) -> None:
    """SD.Next says that it applied a LoRA of which nothing fitted; the documents say so."""
    fake = FakeSDNext(loras=[FakeLora("xl", fault=Fault.WRONG_SHAPES)])
    assert generate(fake, tables, "<lora:xl:1>").result["lora_report"]["applied"]


def test_a_lora_in_the_negative_prompt_is_told(tables: Settings) -> None:
    done = generate(FakeSDNext(loras=[FakeLora("a")]), tables, negative_prompt="<lora:a:1>")
    assert "negative prompt" in done.result["warnings"][0]


def test_a_size_that_is_rounded_is_told(tables: Settings) -> None:
    done = generate(FakeSDNext(), tables, width=70)
    assert done.result["pictures"][0]["width"] == 64
    assert "width 70 is no multiple of 8: the picture has 64" in done.result["warnings"]


def test_parameters_are_passed_on_under_their_names_and_ours_are_not(tables: Settings) -> None:
    fake = FakeSDNext()
    given = {"clip_skip": 2, "detailer_enabled": True, "scheduler": "Karras", "send_images": False, "lora_adapters": []}
    assert generate(fake, tables, **given, live_preview=False).outcome.status is JobStatus.SUCCEEDED
    sent = next(body for _, path, body in fake.requests if path.endswith("txt2img"))
    assert sent == {
        **SMALL,
        "prompt": "a dragon",
        "clip_skip": 2,
        "detailer_enabled": True,
        "schedulers_sigma": "karras",
        "send_images": True,
    }
    other = FakeSDNext(Dialect.A1111)
    assert generate(other, tables, scheduler="Karras", sd_model_checkpoint="Diffusers/tiny-sd").result
    sent = next(body for _, path, body in other.requests if path.endswith("txt2img"))
    assert sent["scheduler"] == "Karras"
    assert sent["override_settings"] == {"sd_model_checkpoint": "Diffusers/tiny-sd"}
    assert not any(path.endswith("options") for method, path, _ in fake.requests + other.requests if method == "POST")


@pytest.mark.parametrize(
    ("params", "loc"),
    [
        ({"steps": 0}, ("steps",)),
        ({"steps": 151}, ("steps",)),
        ({"cfg_scale": 30.1}, ("cfg_scale",)),
        ({"cfg_scale": float("nan")}, ("cfg_scale",)),
        ({"width": 63}, ("width",)),
        ({"height": 4097}, ("height",)),
        ({"seed": -2}, ("seed",)),
        ({"seed": 2**32}, ("seed",)),
        ({"batch_size": 17}, ("batch_size",)),
        ({"batch_size": 16, "n_iter": 7}, ()),
        ({"denoising_strength": 2}, ("denoising_strength",)),
        ({"override_settings": {"outdir_samples": "/etc"}}, ("override_settings", "outdir_samples")),
        ({"override_settings": {"samples_filename_pattern": "x"}}, ("override_settings", "samples_filename_pattern")),
        ({"extra": {"outpath_samples": "/etc"}}, ("extra", "outpath_samples")),
        ({"grading_lut_file": "/etc/passwd"}, ("grading_lut_file",)),
        ({"init_images": ["http://169.254.169.254/"]}, ("init_images", 0)),
    ],
)
def test_what_is_out_of_range_or_reaches_too_far_is_refused(
    settings: Settings, params: dict[str, Any], loc: tuple[str | int, ...]
) -> None:
    with pytest.raises(ParamsError) as refusal:
        check_params(SDNEXT, "a dragon", params, settings)
    assert [complaint.loc for complaint in refusal.value.complaints] == [loc]


def test_null_is_absent_and_the_unknown_is_kept(settings: Settings) -> None:
    params = {"steps": None, "seed": 4294967295, "width": 4096, "anything": {"goes": [1]}}
    checked = check_params(SDNEXT, "a dragon", params, settings)
    assert checked == {"seed": 4294967295, "width": 4096, "anything": {"goes": [1]}}


def test_only_what_has_an_address_is_configured(settings: Settings) -> None:
    assert not SDNEXT.is_configured(settings)
    assert not A1111.is_configured(settings)
    assert SDNEXT.is_configured(configured(settings, "http://127.0.0.1:7860"))
