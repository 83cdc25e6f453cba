"""Progress over sub-jobs and passes: one number that only rises, whatever the server says in between."""

from typing import Any

import pytest

from pipelines.backends.webui.progress import ProgressMeter


def answer(job: str, step: int = 0, steps: int = 10, *, identity: str = "a", progress: float = 0.0) -> dict[str, Any]:
    state = {"job": job, "sampling_step": step, "sampling_steps": steps, "job_count": 1, "job_no": 0}
    return {"id": identity, "progress": progress, "eta_relative": 1.5, "state": state}


def test_only_sampling_counts_where_sub_jobs_are_reported() -> None:
    meter = ProgressMeter()
    said = [
        answer("API-TXT", progress=0.9),
        answer("TE Encode", 1, 1, progress=1.0),
        answer("Inference", 5, identity="b"),
        answer("VAE Decode", 0, 0, identity="c"),
        answer("", 0, 0, identity=""),
    ]
    assert [meter.read(item).fraction for item in said] == [0.0, 0.0, 0.5, 0.5, 0.5]


def test_passes_are_counted_by_the_id_of_the_sampling() -> None:
    meter = ProgressMeter(passes=2)
    said = [
        answer("Inference", 10, identity="b"),
        answer("TE Encode", identity="c"),
        answer("Inference", 5, identity="d"),
        answer("Inference", 10, identity="d"),
    ]
    assert [meter.read(item).fraction for item in said] == [0.5, 0.5, 0.75, 0.99]


def test_a_sampling_that_counts_from_the_start_is_the_next_pass_where_there_is_no_id() -> None:
    meter = ProgressMeter(passes=2)
    assert meter.read(answer("Inference", 8, identity="")).fraction == pytest.approx(0.4)
    assert meter.read(answer("Inference", 2, identity="")).fraction == pytest.approx(0.6)


def test_more_passes_than_expected_stop_below_the_end() -> None:
    meter = ProgressMeter(passes=1)
    fractions = [meter.read(answer("Inference", 9, identity=name)).fraction for name in "abc"]
    assert fractions == [0.9, 0.9, 0.9]


def test_a_server_of_one_job_is_believed_and_never_goes_back() -> None:
    meter = ProgressMeter(passes=2)
    said = [answer("scripts_txt2img", 1, progress=value) for value in (0.2, 0.5, 0.1, 1.0)]
    assert [meter.read(item).fraction for item in said] == [0.2, 0.5, 0.5, 0.99]


def test_there_is_a_preview_while_sampling_alone() -> None:
    meter = ProgressMeter()
    seen = []
    for item in (answer("TE Encode", 1), answer("Inference"), answer("Inference", 1)):
        meter.read(item)
        seen.append(meter.is_sampling)
    assert seen == [False, False, True]


@pytest.mark.parametrize(
    "nonsense",
    [
        {},
        {"state": None},
        {"state": {"job": 5, "sampling_step": "x", "sampling_steps": -1}, "progress": float("nan")},
        {"state": {"job": "Inference", "sampling_step": 10**30, "sampling_steps": 0}, "progress": "0.5"},
        {"progress": float("inf"), "eta_relative": float("-inf")},
    ],
)
def test_nonsense_changes_nothing(nonsense: dict[str, Any]) -> None:
    meter = ProgressMeter()
    meter.read(answer("Inference", 3))
    said = meter.read(nonsense)
    assert said.fraction == 0.3
