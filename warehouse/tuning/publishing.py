"""From the library to a published encoder: learn, measure, and publish only what wins.

A generation holds the model and a manifest that says what it was made of and how much it won. Publishing it makes the
vectors of its spaces due: the runs that follow embed with it, and questions are asked with both meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from warehouse.engine import Database
from warehouse.evaluation.questions import Part, choose
from warehouse.generations import Manifest, Published, collect, current, manifests, publish
from warehouse.ingest.progress import Progress, Silence
from warehouse.settings import Settings
from warehouse.tuning.comparing import QUESTIONS, Comparison, compare
from warehouse.tuning.examples import TUNED_SPACES, Example, digest_of, examples
from warehouse.tuning.training import Plan, Trained, train
from warehouse.vectors import tuned
from warehouse.vectors.devices import choose_device
from warehouse.vectors.encoders import EncoderError, open_encoder
from warehouse.vectors.encoders.export import forget_graphs
from warehouse.vectors.encoders.weights import MODEL_FOLDER, TUNED, ModelFolder, find_model
from warehouse.vectors.spaces import space_of

VERSION = "1"
"""Changed whenever the same examples and plan would give another model."""
FEWEST = 200
"""Examples, and so many times fewer questions, without which a win would be chance."""
_FEWEST_QUESTIONS = 20


class NothingToLearnError(LookupError):
    """The library has too few example prompts."""


class _NotBetterError(RuntimeError):
    """It does not win; ends a publication before its pointer moves."""

    def __init__(self, trained: Trained, comparison: Comparison) -> None:
        super().__init__("the tuned encoder is not better than the one in use")
        self.trained, self.comparison = trained, comparison


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a tuning.

    `published` is the generation in use afterwards, None where there is none; `is_new` whether this tuning made it.
    `comparison` and `trained` are None where nothing had changed since the last one, and so nothing was done.
    """

    published: Published | None
    is_new: bool
    examples: int
    trained: Trained | None = None
    comparison: Comparison | None = None


def tune(
    database: Database,
    settings: Settings,
    plan: Plan,
    *,
    progress: Progress | None = None,
    force: bool = False,
) -> Outcome:
    """Tune the encoder of the spaces in which prompts are compared, and publish it if it wins.

    Nothing is done where the encoder in use was made by the same plan from the same examples, unless forced.

    Raises:
        NothingToLearnError: there are too few example prompts, or the spaces have different models.
        EncoderError: a model cannot be used. PublicationError: the disk is full.
    """
    shown = progress or Silence()
    base = _base(settings)
    in_use = tuned.in_use(database, settings)
    with database.read() as connection:
        questions = choose(connection, QUESTIONS, part=Part.MEASURED)
        found = examples(connection, most=plan.most_examples, held_out=questions.held_out)
    if len(found) < FEWEST or len(questions.queries) < _FEWEST_QUESTIONS:
        raise NothingToLearnError(
            f"there are {len(found):,} example prompts to learn from and {len(questions.queries):,} to measure by; "
            f"{FEWEST} and {_FEWEST_QUESTIONS} are the fewest. Ingest documents with example images"
        )
    source = {
        "version": VERSION,
        "base": base.digest,
        "plan": plan.as_manifest(),
        "examples": digest_of(found),
    }
    before = current(database, settings, TUNED)
    if not force and before is not None and before.manifest.get("source") == source and before.path.is_dir():
        return Outcome(before, is_new=False, examples=len(found))

    made: list[tuple[Trained, Comparison]] = []

    def build(folder: Path) -> Manifest:
        trained = _train(settings, base, found, plan, folder / MODEL_FOLDER, shown)
        encoder = open_encoder(settings, str(folder / MODEL_FOLDER))
        # Not while it was trained: an open transaction keeps a database from tidying up.
        with database.read() as connection:
            comparison = compare(connection, in_use, encoder, questions, shown)
        if not comparison.wins:
            forget_graphs(settings.models_dir, encoder.identity.digest)
            raise _NotBetterError(trained, comparison)
        made.append((trained, comparison))
        return {**_manifest(base, source, found, trained, comparison), "model": encoder.identity.digest}

    try:
        published = publish(database, settings, TUNED, build)
    except _NotBetterError as error:
        return Outcome(before, is_new=False, examples=len(found), trained=error.trained, comparison=error.comparison)
    _collect(database, settings)
    trained, comparison = made[0]
    return Outcome(published, is_new=True, examples=len(found), trained=trained, comparison=comparison)


def _collect(database: Database, settings: Settings) -> None:
    """Remove old generations, and the graphs that were made of their models."""
    gone = set(collect(database, settings, TUNED))
    for manifest in manifests(database, TUNED, gone):
        forget_graphs(settings.models_dir, manifest["model"])


def _base(settings: Settings) -> ModelFolder:
    names = {space_of(space).model_name(settings) for space in TUNED_SPACES}
    if len(names) > 1:
        raise NothingToLearnError(
            f"the spaces {' and '.join(TUNED_SPACES)} have different models ({', '.join(sorted(names))}): one is tuned "
            "for both. Set LORA_MANAGER_EMBEDDING_MODEL_SEMANTIC and …_ARTISTIC to the same"
        )
    return find_model(names.pop(), offline=settings.offline)


def _train(
    settings: Settings,
    base: ModelFolder,
    found: list[Example],
    plan: Plan,
    folder: Path,
    progress: Progress,
) -> Trained:
    try:
        device = choose_device(settings.device)
    except LookupError as error:
        raise EncoderError(str(error)) from error
    return train(base, device, found, plan, folder, progress)


def _manifest(
    base: ModelFolder, source: dict[str, Any], found: list[Example], trained: Trained, comparison: Comparison
) -> Manifest:
    return {
        "n": len(found),
        "base": {"name": base.name, "digest": base.digest},
        "spaces": [space.value for space in TUNED_SPACES],
        "steps": trained.steps,
        "seconds": round(trained.seconds, 1),
        "loss": [round(trained.loss_before, 4), round(trained.loss_after, 4)],
        "comparison": comparison.as_manifest(),
        "source": source,
    }
