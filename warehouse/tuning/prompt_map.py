"""Learning the correction of prompts' vectors that comes with the package (`warehouse.vectors.prompt_map`).

`python -m warehouse.tuning.prompt_map --data DIR` learns it from the part of a library that is learned on, in a minute,
and writes it where the package reads it. Belongs here: the learning. Does not: applying it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from warehouse.engine import Database
from warehouse.settings import Settings
from warehouse.tuning.commands import learn_and_write
from warehouse.tuning.examples import Example, examples
from warehouse.vectors import prompt_map, texts
from warehouse.vectors.encoders import Encoder, shared_encoder
from warehouse.vectors.encoders.protocol import EncoderIdentity
from warehouse.vectors.prompt_map import PromptMap
from warehouse.vectors.spaces import SpaceName, space_of

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

_MOST_EXAMPLES = 20_000
_KEPT = 0.5


@dataclass(frozen=True, slots=True)
class Plan:
    """How it is learned. Found by cross-validation over models of the part that is learned on.

    `temperature` divides cosines; `penalty` is of the squared entries of up·down; `batch` prompts are told apart at
    each of `steps` steps.
    """

    rank: int = 32
    temperature: float = 0.05
    penalty: float = 0.05
    steps: int = 200
    batch: int = 384
    rate: float = 2e-3
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Lesson:
    """Unit vectors, float32: of prompts (ways to ask, n, d) and of the texts they belong to (spaces, n, d); the model
    of each example, by number (n,)."""

    asked: NDArray[np.float32]
    answers: NDArray[np.float32]
    models: NDArray[np.int64]

    def some(self, chosen: NDArray[np.bool_]) -> Lesson:
        """Those examples alone for which `chosen` (n,) is true."""
        return Lesson(self.asked[:, chosen], self.answers[:, chosen], self.models[chosen])


def lesson_of(found: Sequence[Example], encoder: Encoder) -> Lesson:
    """Encode examples."""
    import numpy as np

    asked, answers = (
        zip(*(example.prompts for example in found), strict=True),
        zip(*(example.texts for example in found), strict=True),
    )
    numbers = {model: number for number, model in enumerate(dict.fromkeys(example.model for example in found))}
    return Lesson(
        np.stack([encoder.encode(way) for way in asked]),
        np.stack([encoder.encode(space) for space in answers]),
        np.array([numbers[example.model] for example in found]),
    )


def learn(lesson: Lesson, plan: Plan | None = None) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """`down` (r, d) and `up` (d, r): each prompt of a batch is to be nearer to its own texts than to those of others.

    The same lesson gives the same, but for the last bits, on every machine.
    """
    import torch

    chosen = plan or Plan()
    asked, answers = torch.from_numpy(lesson.asked), torch.from_numpy(lesson.answers)
    models = torch.from_numpy(lesson.models)
    width, count = asked.shape[2], asked.shape[1]
    dice = torch.Generator().manual_seed(chosen.seed)
    # One of the two begins at nothing, and so does the correction.
    up = torch.zeros(width, chosen.rank, requires_grad=True)
    down = (torch.randn(chosen.rank, width, generator=dice) / width**0.5).requires_grad_()
    optimiser = torch.optim.Adam([down, up], lr=chosen.rate)
    for _ in range(chosen.steps):
        some = torch.randperm(count, generator=dice)[: chosen.batch]
        ways = torch.randint(len(asked), (len(some),), generator=dice)
        prompts = asked[ways, some]
        moved = torch.nn.functional.normalize(prompts + prompts @ down.T @ up.T, dim=1)
        loss = chosen.penalty * (up @ down).square().sum()
        for space in answers:
            loss = loss + _told_apart(moved, space[some], models[some], chosen.temperature)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return down.detach().numpy(), up.detach().numpy()


def _told_apart(prompts: torch.Tensor, answers: torch.Tensor, models: torch.Tensor, temperature: float) -> torch.Tensor:
    """How little each prompt is told apart from those of other models (InfoNCE); others of its own count as nothing."""
    import torch

    likeness = prompts @ answers.T / temperature
    own = torch.eye(len(models), dtype=torch.bool)
    others = (models[:, None] == models[None, :]) & ~own
    return torch.nn.functional.cross_entropy(likeness.masked_fill(others, -torch.inf), torch.arange(len(models)))


def learn_from(database: Database, settings: Settings, plan: Plan | None = None) -> PromptMap:
    """Learn from the part of a library that is learned on.

    Raises:
        LookupError: it has no example prompts. EncoderError: the model cannot be used.
    """
    encoder = shared_encoder(settings, space_of(SpaceName.SEMANTIC).model_name(settings))
    with database.read() as connection:
        found = all_examples(connection)
    return map_of(lesson_of(found, encoder), encoder.identity, plan)


def all_examples(connection: Connection) -> list[Example]:
    """What the part of a library that is learned on has to learn from.

    Raises:
        LookupError: it has no example prompts.
    """
    found = examples(connection, most=_MOST_EXAMPLES, held_out=())
    if not found:
        raise LookupError("no adapter of the part that is learned on has example images with prompts")
    return found


def map_of(lesson: Lesson, identity: EncoderIdentity, plan: Plan | None = None) -> PromptMap:
    """The correction that is learned from a lesson in the vectors of an encoder."""
    down, up = learn(lesson, plan)
    return PromptMap(down, with_common_part(up, lesson.answers), identity.digest, texts.VERSION)


def with_common_part(up: NDArray[np.float32], answers: NDArray[np.float32]) -> NDArray[np.float32]:
    """`up` (d, r) without half of what it changes along the mean of `answers` (spaces, n, d).

    What all adapters have in common tells none apart, and is unlearned; but similarities without it are a third of what
    people are used to, and fall below thresholds that were chosen for plain ones. Half of it costs no recall.
    """
    import numpy as np

    common = answers.mean(axis=(0, 1))
    common /= max(float(np.linalg.norm(common)), 1e-12)
    return up - _KEPT * np.outer(common, common @ up).astype(np.float32)


def write(learned: PromptMap, path: Path) -> None:
    """Write a correction, at half precision."""
    import numpy as np
    from safetensors.numpy import save_file

    tensors = {
        prompt_map.DOWN: learned.down.astype(np.float16),
        prompt_map.UP: learned.up.astype(np.float16),
    }
    save_file(tensors, path, {prompt_map.MODEL_DIGEST: learned.model_digest, prompt_map.TEXTS: learned.texts})


def main() -> None:
    """Learn and write."""
    learn_and_write("warehouse.tuning.prompt_map", __doc__, prompt_map.SHIPPED, learn_from, write)


if __name__ == "__main__":
    main()
