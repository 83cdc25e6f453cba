"""Progress of one generation on SD.Next or A1111, as one number that only rises.

Belongs here: reading the answers of `GET /sdapi/v1/progress`. Does not: asking for them (`client`).

SD.Next reports the sub-job it is at, and its progress begins anew with each one: text encoding, sampling, decoding,
and all of it again for every pass (`n_iter`). Only the sampling (`Inference`) says anything about the whole, so passes
are counted and the rest is taken for a standstill. Servers that report one job for everything (A1111, older builds of
SD.Next) say the progress of the whole themselves.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_SAMPLING: Final = "Inference"
_SUB_JOBS: Final = frozenset({"API-TXT", "API-IMG", "Process", "Base", "LoRA", "TE Encode", _SAMPLING, "VAE Decode"})
_UNFINISHED: Final = 0.99
"""A picture is decoded and sent after its last step: only its arrival is the end."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a generation is."""

    fraction: float
    """0..1, never less than before."""
    step: int
    """Of the pass that is being sampled; 0 before it."""
    steps: int


class ProgressMeter:
    """Follows the answers to one generation."""

    def __init__(self, passes: int = 1) -> None:
        """Begin.

        Args:
            passes: how often the server will sample, `n_iter` and once more for each second pass (`enable_hr`).
        """
        self._passes = max(1, passes)
        self._done = 0
        self._sub_job = ""
        self._step = 0
        self._fraction = 0.0
        self._has_sub_jobs = False
        self.is_sampling = False
        """Whether it was sampling when it was last asked: the only time it has a preview, and hears an interrupt."""

    def read(self, answer: Mapping[str, Any]) -> Progress:
        """What an answer means; one that is no answer to the question leaves everything as it was."""
        state = answer.get("state")
        state = state if isinstance(state, Mapping) else {}
        job = str(state.get("job") or "")
        step, steps = _count(state.get("sampling_step")), _count(state.get("sampling_steps"))
        self._has_sub_jobs = self._has_sub_jobs or job in _SUB_JOBS
        if not self._has_sub_jobs:
            self._rise(_number(answer.get("progress")))
            return self._progress(step, steps, sampling=step > 0)
        if job != _SAMPLING:
            return self._progress(0, steps, sampling=False)
        self._count_pass(str(answer.get("id") or ""), step)
        if steps:
            self._rise((self._done + min(step, steps) / steps) / self._passes)
        return self._progress(step, steps, sampling=step > 0)

    def _count_pass(self, sub_job: str, step: int) -> None:
        """A sampling under another id, or one that counts from the start again, is the next pass."""
        is_next = (sub_job != self._sub_job) if sub_job else (step < self._step)
        if is_next and self._sub_job:
            self._done = min(self._done + 1, self._passes - 1)
        self._sub_job = sub_job or self._sub_job or _SAMPLING
        self._step = step

    def _rise(self, fraction: float) -> None:
        self._fraction = max(self._fraction, min(fraction, _UNFINISHED))

    def _progress(self, step: int, steps: int, *, sampling: bool) -> Progress:
        self.is_sampling = sampling
        return Progress(self._fraction, step, steps)


def _number(value: Any) -> float:
    """A number that JSON held, and 0 for anything else: not even NaN may get into a progress."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        return 0.0
    return float(value)


def _count(value: Any) -> int:
    return int(_number(value))
