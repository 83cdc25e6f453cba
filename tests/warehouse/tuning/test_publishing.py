"""An encoder is published when it wins, and leaves nothing behind when it does not."""

from pathlib import Path
from typing import Any

import pytest

from tests.warehouse.vectors import turned
from warehouse.engine import Database
from warehouse.evaluation.metrics import Measure
from warehouse.generations import current
from warehouse.settings import Settings
from warehouse.tuning import Comparison, NothingToLearnError, Plan, publishing, tune
from warehouse.tuning.training import Trained
from warehouse.vectors import SPACES, compute_embeddings, tuned
from warehouse.vectors.encoders.weights import TUNED

PLAN = Plan()


def _comparison(gain: float) -> Comparison:
    measure = Measure(gain, gain, gain)
    return Comparison(40, 24, {}, {}, measure, measure, (0.5, 0.5))


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The examples of each training; in its place another model is made (`turned`), for what it learns is not looked
    at here."""
    made: list[Any] = []

    def train(_base: Any, _device: Any, found: Any, _plan: Any, folder: Path, _progress: Any) -> Trained:
        made.append(found)
        turned.write(folder, seed=len(made))
        return Trained(1, 0.1, 2.0, 1.0)

    monkeypatch.setattr(publishing, "train", train)
    monkeypatch.setattr(publishing, "FEWEST", 20)
    return made


def _will_gain(monkeypatch: pytest.MonkeyPatch, gain: float) -> None:
    monkeypatch.setattr(publishing, "compare", lambda *_: _comparison(gain))


def test_a_winner_is_published_comes_into_use_and_is_not_made_twice(
    library: Database, settings: Settings, trainings: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _will_gain(monkeypatch, 0.1)
    outcome = tune(library, settings, PLAN)
    assert outcome.is_new
    assert outcome.published == current(library, settings, TUNED)
    assert tuned.in_use(library, settings).embedding_model_artistic.startswith("encoders/prompts/")
    changed = [compute_embeddings(library, settings, space.name).changed > 0 for space in SPACES]
    assert changed == [True, True, False]

    again = tune(library, settings, PLAN)
    assert (again.is_new, again.comparison, len(trainings)) == (False, None, 1)
    assert tune(library, settings, PLAN, force=True).is_new
    assert tune(library, settings, Plan(epochs=1)).is_new


def test_what_does_not_win_leaves_nothing_behind(
    library: Database, settings: Settings, trainings: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name for path in settings.models_dir.iterdir()}
    _will_gain(monkeypatch, -0.1)
    outcome = tune(library, settings, PLAN)
    assert (outcome.is_new, outcome.published) == (False, None)
    assert outcome.comparison is not None
    assert not outcome.comparison.wins
    assert current(library, settings, TUNED) is None
    assert not list((settings.generations_dir / TUNED).iterdir())
    assert {path.name for path in settings.models_dir.iterdir()} == before


def test_old_ones_are_removed_with_the_graphs_that_were_made_of_them(
    library: Database, settings: Settings, trainings: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    _will_gain(monkeypatch, 0.1)
    before = {path.name for path in settings.models_dir.iterdir()}
    for number in range(5):
        tune(library, settings, Plan(epochs=number + 1))
    assert len(list((settings.generations_dir / TUNED).iterdir())) == 3
    assert len({path.name for path in settings.models_dir.iterdir()} - before) == 3


def test_too_little_to_learn_from_is_told(library: Database, settings: Settings) -> None:
    with pytest.raises(NothingToLearnError, match="example prompts to learn from"):
        tune(library, settings, PLAN)


def test_spaces_of_different_models_are_not_tuned(library: Database, settings: Settings) -> None:
    other = settings.model_copy(update={"embedding_model_semantic": "another"})
    with pytest.raises(NothingToLearnError, match="LORA_MANAGER_EMBEDDING_MODEL_SEMANTIC"):
        tune(library, other, PLAN)
