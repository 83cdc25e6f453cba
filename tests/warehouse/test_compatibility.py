"""The graph of base models: its data is sound, and what it says of pairs and stacks follows from it."""

import random
import re
from itertools import combinations, product
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from warehouse.civitai.readers.invokeai import BASES
from warehouse.compatibility import APART, ECOSYSTEMS, PARTIAL, Verdict, ecosystems_of, relation, stack
from warehouse.safetensors import architectures

NAMES = sorted({name for names in ECOSYSTEMS.values() for name in names})
SOME_NAMES = st.one_of(st.none(), st.sampled_from(NAMES), st.just("Other"), st.text(max_size=20))


def test_every_edge_is_between_known_ecosystems_once_and_has_a_reason() -> None:
    pairs = [frozenset(pair) for ecosystems, _ in PARTIAL for pair in combinations(ecosystems, 2)]
    pairs.extend(frozenset(pair) for firsts, seconds, _ in APART for pair in product(firsts, seconds))
    assert len(pairs) == len(set(pairs))
    assert all(pair <= ECOSYSTEMS.keys() and len(pair) == 2 for pair in pairs)
    assert all(len(reason) > 20 for *_, reason in (*PARTIAL, *APART))


def test_every_name_that_a_file_can_be_given_is_known() -> None:
    source = Path(architectures.__file__).read_text()
    named = set(re.findall(r'BaseModel\("([^"]+)"', source)) | set(BASES.values())
    named |= {name for family in architectures._FAMILIES for name in family}
    named |= {name for _, name, _ in (*architectures._DECLARED, *architectures._HINTED)}
    assert len(named) > 40
    assert {name for name in named if not ecosystems_of(name)} == set()


def test_every_spelling_of_the_corpus_is_known(corpus: Path) -> None:
    spelled: set[str] = set()
    for path in corpus.glob("api_model/*.json"):
        model = msgspec.json.decode(path.read_bytes())
        spelled |= {version["baseModel"] for version in model.get("modelVersions", []) if version.get("baseModel")}
    assert "SD 1.5" in spelled
    assert {name for name in spelled if not ecosystems_of(name)} <= {"Other", "semi"}


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        ("SD 1.5", "SD 1.4", Verdict.FULL),
        ("SD 1.5 LCM", "SD 1.5 Hyper", Verdict.FULL),
        ("sd_1_5", "SD 1.5", Verdict.FULL),
        ("SDXL 1.0", "SDXL Lightning", Verdict.FULL),
        ("sdxl", "SDXL Turbo", Verdict.FULL),
        ("SDXL 1.0", "Pony", Verdict.PARTIAL),
        ("SDXL 1.0", "Illustrious", Verdict.PARTIAL),
        ("SDXL 1.0", "NoobAI", Verdict.PARTIAL),
        ("Pony", "Illustrious", Verdict.PARTIAL),
        ("Pony", "NoobAI", Verdict.PARTIAL),
        ("Illustrious", "NoobAI", Verdict.PARTIAL),
        ("SD 2.1", "SD 2.1 768", Verdict.PARTIAL),
        ("Flux.1 D", "Flux.1 S", Verdict.FULL),
        ("Flux.1 D", "Flux.1 Krea", Verdict.PARTIAL),
        ("Flux.1 S", "Flux.1 Krea", Verdict.PARTIAL),
        ("Flux.1 D", "Chroma", Verdict.PARTIAL),
        ("Flux.1 D", "Flux.2 D", Verdict.NONE),
        ("SD 1.5", "SDXL 1.0", Verdict.NONE),
        ("SD 1.5", "SD 2.1", Verdict.NONE),
        ("SDXL 1.0", "SD 3.5 Large", Verdict.NONE),
        ("SD 3", "SD 3.5 Medium", Verdict.NONE),
        ("SD 3.5 Large", "SD 3.5 Large Turbo", Verdict.FULL),
        ("SD 3.5", "SD 3.5 Large", Verdict.UNKNOWN),
        ("SD 3.5", "SD 1.5", Verdict.NONE),
        ("CogVideoX", "CogVideoX", Verdict.UNKNOWN),
        ("Pony", "Pony V7", Verdict.NONE),
        ("AuraFlow", "Pony V7", Verdict.PARTIAL),
        ("SDXL 1.0", "Kolors", Verdict.NONE),
        ("ZImageTurbo", "ZImageBase", Verdict.PARTIAL),
        ("Wan Video 14B i2v 480p", "Wan Video 14B i2v 720p", Verdict.FULL),
        ("Wan Video 14B t2v", "Wan Video 2.2 T2V-A14B", Verdict.PARTIAL),
        ("Wan Video 14B t2v", "Wan Video 2.2 TI2V-5B", Verdict.NONE),
        ("Wan Video 1.3B t2v", "Wan Video 14B t2v", Verdict.NONE),
        ("Wan Video", "Hunyuan Video", Verdict.NONE),
        ("Wan Video", "Wan Video 14B t2v", Verdict.UNKNOWN),
        ("LTXV", "LTXV2", Verdict.NONE),
        ("PixArt a", "PixArt E", Verdict.NONE),
        ("Other", "SD 1.5", Verdict.UNKNOWN),
        ("Other", "Other", Verdict.UNKNOWN),
        (None, None, Verdict.UNKNOWN),
        ("", "SD 1.5", Verdict.UNKNOWN),
    ],
)
def test_pairs(first: str | None, second: str | None, verdict: Verdict) -> None:
    found = relation(first, second)
    assert found.verdict is verdict
    assert found.reason


def test_a_maker_in_common_means_nothing() -> None:
    stability = ["SD 1.5", "SD 2.1", "SDXL 1.0", "SD 3", "Stable Cascade", "SVD"]
    assert {relation(*pair).verdict for pair in combinations(stability, 2)} == {Verdict.NONE}


@given(SOME_NAMES, SOME_NAMES)
def test_a_relation_does_not_depend_on_the_order(first: str | None, second: str | None) -> None:
    assert relation(first, second).verdict is relation(second, first).verdict


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_means_one_ecosystem_goes_with_itself(name: str) -> None:
    expected = Verdict.FULL if len(ecosystems_of(name)) == 1 else Verdict.UNKNOWN
    assert relation(name, name).verdict is expected


@pytest.mark.parametrize(
    ("base_models", "verdict", "pairs"),
    [
        ([], Verdict.FULL, []),
        (["SD 3.5"], Verdict.FULL, []),
        (["SD 3.5", "SD 3.5"], Verdict.UNKNOWN, [("SD 3.5", "SD 3.5")]),
        ([None], Verdict.UNKNOWN, []),
        (["SD 1.5", "SD 1.5", "SD 1.4"], Verdict.FULL, []),
        (["SDXL 1.0", "Pony", None], Verdict.UNKNOWN, [("Pony", "SDXL 1.0")]),
        (["SDXL 1.0", "Pony"], Verdict.PARTIAL, [("Pony", "SDXL 1.0")]),
        (
            ["SDXL 1.0", "Pony", "SD 1.5", "Other"],
            Verdict.NONE,
            [("Pony", "SD 1.5"), ("SD 1.5", "SDXL 1.0"), ("Pony", "SDXL 1.0")],
        ),
    ],
)
def test_stacks(base_models: list[str | None], verdict: Verdict, pairs: list[tuple[str, str]]) -> None:
    found = stack(base_models)
    assert found.verdict is verdict
    assert [(pair.first, pair.second) for pair in found.pairs] == pairs


@given(st.lists(SOME_NAMES, max_size=6), st.randoms())
def test_a_stack_does_not_depend_on_the_order(base_models: list[str | None], source: random.Random) -> None:
    shuffled = list(base_models)
    source.shuffle(shuffled)
    assert stack(shuffled) == stack(base_models)


@given(st.lists(SOME_NAMES, min_size=2, max_size=6))
def test_a_stack_is_as_bad_as_its_worst_pair(base_models: list[str | None]) -> None:
    order = [Verdict.NONE, Verdict.UNKNOWN, Verdict.PARTIAL, Verdict.FULL]
    verdicts = [relation(*pair).verdict for pair in combinations(base_models, 2)]
    assert stack(base_models).verdict is min(verdicts, key=order.index)
