"""Another encoder comes into use: nobody who asks notices, at no time until everything is embedded by it."""

import shutil
from collections.abc import Sequence

import pytest
from sqlalchemy import select

from tests.warehouse.vectors import library, turned
from tests.warehouse.vectors.conftest import COUNT
from warehouse.engine import Database
from warehouse.models import Embedding
from warehouse.settings import Settings
from warehouse.vectors import SPACES, Recommender, SpaceName, compute_embeddings, publish_index, search, tuned
from warehouse.vectors.encoders import EncoderError
from warehouse.vectors.work import producers_of

PROMPT = "a neon lit street in the rain"
ASKED = 8

Answers = list[list[tuple[int, float]]]


@pytest.fixture(autouse=True)
def look_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "_PRODUCERS_SECONDS", 0.0)


def _answers(recommender: Recommender) -> Answers:
    """Adapters with their scores: for a prompt, like an early adapter, like a late one."""
    results = [
        recommender.by_vectors(recommender.encode(PROMPT), k=5),
        recommender.similar(ASKED, k=5),
        recommender.similar(COUNT - 1, k=5),
    ]
    return [[(match.pk, match.score) for match in result.matches] for result in results]


def _same(found: Answers, expected: Answers) -> bool:
    # Stored vectors are of half precision, so that adapters of one theme may change places.
    return all(
        [score for _, score in one] == pytest.approx([score for _, score in other], abs=3e-3)
        for one, other in zip(found, expected, strict=True)
    )


def _embed(database: Database, settings: Settings, numbers: Sequence[int] | None = None) -> None:
    ids = None if numbers is None else [library.adapter(number)["id"] for number in numbers]
    for space in SPACES:
        compute_embeddings(database, settings, space.name, adapter_ids=ids)


def test_questions_are_answered_alike_before_while_and_after_all_is_embedded_anew(
    filled: Database, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The correction is for MiniLM's prompts alone; the model that stands in for another one makes as it does.
    monkeypatch.setattr(search.prompt_map, "for_prompts", lambda vectors, _identity: vectors)
    publish_index(filled, settings)
    recommender = Recommender(filled, settings)
    expected = _answers(recommender)
    published = turned.publish_turned(filled, settings)
    stages = {
        "published": lambda: None,
        "one embedded": lambda: _embed(filled, settings, [ASKED]),
        "half embedded": lambda: _embed(filled, settings, range(1, COUNT // 2)),
        "all embedded": lambda: _embed(filled, settings),
        "indexed": lambda: publish_index(filled, settings),
    }
    for stage, pass_on in stages.items():
        pass_on()
        assert _same(_answers(recommender), expected), stage
        assert _same(_answers(Recommender(filled, settings)), expected), f"{stage}, in a process that was just started"
    index = publish_index(filled, settings)
    assert index.manifest["models"]["artistic"] == f"encoders/prompts/{published.name}"
    assert index.manifest["models"]["technical"] == settings.embedding_model_technical


def test_it_holds_while_nobody_names_another_model_or_wants_none(filled: Database, settings: Settings) -> None:
    before = producers_of(settings)
    assert tuned.in_use(filled, settings) == settings
    turned.publish_turned(filled, settings)
    now = producers_of(tuned.in_use(filled, settings))
    assert {space for space in now if now[space] != before[space]} == {SpaceName.SEMANTIC, SpaceName.ARTISTIC}
    other = settings.model_copy(update={"embedding_model_semantic": "another"})
    assert tuned.in_use(filled, other).embedding_model_semantic == "another"
    without = settings.model_copy(update={"use_tuned_encoder": False})
    assert tuned.in_use(filled, without) == without


def test_every_tuned_encoder_makes_its_spaces_due_and_no_others(filled: Database, settings: Settings) -> None:
    for seed in (1, 2):
        turned.publish_turned(filled, settings, seed=seed)
        changed = {space.name: compute_embeddings(filled, settings, space.name).changed for space in SPACES}
        assert changed == {SpaceName.SEMANTIC: COUNT, SpaceName.ARTISTIC: COUNT, SpaceName.TECHNICAL: 0}
    with filled.read() as connection:
        names = connection.execute(select(Embedding.model_name).distinct()).scalars().all()
    assert len(names) == 2


def test_a_tuned_encoder_whose_files_are_gone_or_changed_is_told_and_embeds_nothing(
    filled: Database, settings: Settings
) -> None:
    published = turned.publish_turned(filled, settings)
    weights = published.path / "model" / "model.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    for said in ("is not what was published", "cannot be read"):
        with pytest.raises(EncoderError, match=rf"{said}.*LORA_MANAGER_USE_TUNED_ENCODER=false"):
            compute_embeddings(filled, settings, "semantic")
        shutil.rmtree(published.path, ignore_errors=True)
