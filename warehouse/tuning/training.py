"""Contrastive training: of the adapters of a batch, a prompt shall be nearest to the one whose image it made.

The loss is the symmetric cross-entropy over the cosines of a batch (InfoNCE, van den Oord et al., 2018; in both
directions as in CLIP, Radford et al., 2021). A batch has one prompt of a model at most: another one of the same model
would be counted as wrong. Belongs here: the loop. Does not: what is learned from (`examples`), whether it helped.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from warehouse.ingest.progress import Progress
from warehouse.tuning.examples import Example
from warehouse.vectors.devices import Device
from warehouse.vectors.encoders import EncoderError
from warehouse.vectors.encoders.torch_encoder import load_model
from warehouse.vectors.encoders.weights import ModelFolder

if TYPE_CHECKING:
    import torch

_SMALLEST_BATCH = 8
"""Examples without which there is too little to tell apart."""
_WARM_UP = 0.1
_CLIP = 1.0
_SENTENCE_CONFIG = "sentence_bert_config.json"


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how hard is trained. Ends with the epochs or the time, whichever comes first.

    `temperature` divides the cosines; `max_tokens` is how much of each text is read while training; `batch` is how many
    adapters a prompt is told apart from.
    """

    epochs: float = 2.0
    minutes: float = 60.0
    batch: int = 64
    learning_rate: float = 5e-5
    temperature: float = 0.05
    max_tokens: int = 96
    most_examples: int = 20_000
    seed: int = 0

    def as_manifest(self) -> dict[str, Any]:
        """The plan as plain values."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Trained:
    """What training took, and the mean loss of its first and last tenth, in nats."""

    steps: int
    seconds: float
    loss_before: float
    loss_after: float


def train(
    base: ModelFolder,
    device: Device,
    examples: Sequence[Example],
    plan: Plan,
    folder: Path,
    progress: Progress,
) -> Trained:
    """Train a copy of a model and write it into a folder.

    The same examples, plan and device give the same model, as far as the device's arithmetic repeats itself and the
    epochs end before the time does.

    Raises:
        EncoderError: the model cannot be loaded. OSError: the disk is full. TimeoutError: no step
            ended in time.
    """
    import torch

    torch.manual_seed(plan.seed)
    model = load_model(base, device)
    length = model.max_seq_length
    if length is None:
        raise EncoderError(f"{base.name!r} does not say how many tokens it reads: it cannot be tuned")
    model.max_seq_length = min(length, plan.max_tokens)
    trained = _Loop(model, plan, progress).run(examples)
    model.max_seq_length = length
    model.eval()
    model.save(str(folder), create_model_card=False)
    _write_length(folder, length)
    return trained


def _write_length(folder: Path, length: int) -> None:
    # Some versions of the library keep it in the tokenizer alone, where a loader without that library does not look.
    path = folder / _SENTENCE_CONFIG
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    path.write_text(json.dumps({**known, "max_seq_length": length}, indent=1), encoding="utf-8")


def batches(examples: Sequence[Example], plan: Plan, seed: int) -> Iterator[list[Example]]:
    """Batches of different models, epoch after epoch in another order, without end."""
    order = random.Random(seed)  # noqa: S311 — an order of examples, no secret
    while True:
        waiting = list(examples)
        order.shuffle(waiting)
        whole = False
        while waiting:
            batch: dict[str, Example] = {}
            later: list[Example] = []
            for example in waiting:
                if len(batch) < plan.batch and example.model not in batch:
                    batch[example.model] = example
                else:
                    later.append(example)
            if len(batch) < _SMALLEST_BATCH and whole:
                # What is left is of a few models with very many prompts.
                break
            whole, waiting = True, later
            yield list(batch.values())


class _Loop:
    """The steps of one training."""

    def __init__(self, model: Any, plan: Plan, progress: Progress) -> None:
        import torch

        self._model, self._plan, self._progress = model, plan, progress
        self._random = random.Random(plan.seed)  # noqa: S311 — an order of examples, no secret
        # The vectors of tokens stay: most are in no prompt of the library, and would be left behind by those that are.
        for name, value in model.named_parameters():
            value.requires_grad_("word_embeddings" not in name)
        self._learned = [value for value in model.parameters() if value.requires_grad]
        self._optimizer = torch.optim.AdamW(self._learned, lr=plan.learning_rate, weight_decay=0.01)

    def run(self, examples: Sequence[Example]) -> Trained:
        plan = self._plan
        total = max(1, round(plan.epochs * len(examples) / plan.batch))
        began = time.monotonic()
        losses: list[float] = []
        self._progress.start(total, "steps")
        self._model.train()
        for batch in batches(examples, plan, plan.seed):
            # Whichever end is nearer decides how far the learning rate has fallen.
            done = max(len(losses) / total, (time.monotonic() - began) / (60 * plan.minutes))
            if done >= 1:
                break
            self._set_rate(plan.learning_rate * min(1.0, (done + 1 / total) / _WARM_UP) * (1 - done))
            losses.append(self._step(batch))
            self._progress.advance(1)
        if not losses:
            raise TimeoutError(f"no step of the training fits into {plan.minutes:g} minutes: allow it more")
        tenth = max(1, len(losses) // 10)
        first, last = losses[:tenth], losses[-tenth:]
        return Trained(len(losses), time.monotonic() - began, sum(first) / len(first), sum(last) / len(last))

    def _step(self, batch: Sequence[Example]) -> float:
        import torch

        asked = self._encode([self._random.choice(example.prompts) for example in batch])
        told = self._encode([self._random.choice(example.texts) for example in batch])
        scores = asked @ told.T / self._plan.temperature
        right = torch.arange(len(batch), device=scores.device)
        cross_entropy = torch.nn.functional.cross_entropy
        loss = (cross_entropy(scores, right) + cross_entropy(scores.T, right)) / 2
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self._learned, _CLIP)
        self._optimizer.step()
        return float(loss.item())

    def _encode(self, texts: Sequence[str]) -> torch.Tensor:
        import torch
        from sentence_transformers.util import batch_to_device

        features = batch_to_device(self._model.preprocess(list(texts)), self._model.device)
        vectors: torch.Tensor = self._model(features)["sentence_embedding"]
        return torch.nn.functional.normalize(vectors, dim=1)

    def _set_rate(self, rate: float) -> None:
        for group in self._optimizer.param_groups:
            group["lr"] = rate
