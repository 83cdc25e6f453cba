"""Composing: tokens, their order and weights, the prompt, warnings."""

from pathlib import Path
from typing import Any

import pytest

from tests.contract.conftest import World
from tests.contract.service import UNKNOWN_ID, Service
from tests.warehouse.ingest.library import weights

pytestmark = pytest.mark.usefixtures("nothing_active")


def active(service: Service, **fields: Any) -> dict[str, Any]:
    """A new active adapter whose base model is known."""
    return service.create(**{"active": True, "base_model": "SDXL 1.0", **fields})


def token(adapter: dict[str, Any], weight: str = "1") -> str:
    return f"<lora:{adapter['name']}:{weight}>"


def compose(service: Service, **body: Any) -> dict[str, Any]:
    """An answer with everything that is promised of it."""
    answer: dict[str, Any] = service.post("/compose", body)
    assert {"prompt", "tokens", "warnings"} <= answer.keys()
    assert all(isinstance(each, str) for each in (answer["prompt"], *answer["tokens"], *answer["warnings"]))
    return answer


def test_active_adapters_become_tokens(service: Service) -> None:
    """Tokens of the active adapters, `<lora:{name}:{weight}>`"""
    first, second = active(service, ordinal=1), active(service, ordinal=2, weight=0.5)
    service.create()
    answer = compose(service)
    assert answer["tokens"] == [token(first), token(second, "0.5")]
    assert answer["prompt"] == f"{token(first)} {token(second, '0.5')}"
    assert answer["warnings"] == []


@pytest.mark.parametrize(
    ("weight", "shown"),
    [
        (1, "1"),
        (1.0, "1"),
        (0.75, "0.75"),
        (0.5, "0.5"),
        (0.12345, "0.123"),
        (0.9996, "1"),
        (0.1, "0.1"),
        (1.5, "1.5"),
        (2, "2"),
        (0, "0"),
        (-0.0, "0"),
        (-0.0001, "0"),
        (0.0001, "0"),
        (1e-9, "0"),
        (-0.5, "-0.5"),
        (10, "10"),
        (1.05, "1.05"),
    ],
)
def test_weights_are_short(service: Service, weight: float, shown: str) -> None:
    """weight with at most 3 decimals, no trailing zeros (`0.75`, `0.5`, `1`, never `-0` or an exponent)"""
    adapter = active(service, weight=weight)
    assert compose(service)["tokens"] == [token(adapter, shown)]


def test_ordinals_come_first_then_names_then_ids(service: Service) -> None:
    """Order: explicit `ordinal` first, ascending (0 and negatives are explicit), then name, then id."""
    word = service.name("order")
    made = [
        active(service, name=f"{word} {letter}", ordinal=ordinal)
        for letter, ordinal in (("e", None), ("b", 5), ("c", 0), ("d", -3), ("a", 5), ("f", None))
    ]
    expected = [made[3], made[2], made[4], made[1], made[0], made[5]]
    assert compose(service)["tokens"] == [token(adapter) for adapter in expected]
    assert compose(service)["tokens"] == [token(adapter) for adapter in expected]


@pytest.mark.parametrize(
    ("body", "prompt"),
    [
        ({}, "{token}"),
        ({"prefix": "a knight"}, "a knight {token}"),
        ({"suffix": "best quality"}, "{token} best quality"),
        ({"prefix": "a knight", "suffix": "best quality"}, "a knight {token} best quality"),
        ({"prefix": "", "suffix": ""}, "{token}"),
        ({"prefix": None, "suffix": None}, "{token}"),
    ],
)
def test_one_space_joins(service: Service, body: dict[str, Any], prompt: str) -> None:
    """Prompt: prefix, tokens, suffix, joined with one space; nothing else unless asked"""
    adapter = active(service, activation_text="inkdragon", triggers=["inkdragon"])
    assert compose(service, **body)["prompt"] == prompt.format(token=token(adapter))


def test_nothing_active_is_a_warning(service: Service) -> None:
    """Warnings also for: no active adapter"""
    answer = compose(service, prefix="a", suffix="b")
    assert (answer["prompt"], answer["tokens"]) == ("a b", [])
    assert len(answer["warnings"]) == 1


def test_triggers_on_request(service: Service) -> None:
    """`"include_triggers": true` adds each adapter's activation text or first trigger group after the tokens"""
    first = active(service, ordinal=1, activation_text="inkdragon, flowing", trained_words=["other"])
    second = active(service, ordinal=2, trained_words=["zxq style, zxq", "second group"])
    third = active(service, ordinal=3)
    tokens = " ".join(token(adapter) for adapter in (first, second, third))
    prompt = compose(service, prefix="a", suffix="z", include_triggers=True)["prompt"]
    assert prompt.startswith(f"a {tokens} ")
    assert prompt.endswith(" z")
    added = prompt.removeprefix(f"a {tokens} ").removesuffix(" z")
    assert added.startswith("inkdragon, flowing")
    assert added.endswith("zxq style, zxq")
    assert "second group" not in prompt
    assert "other" not in prompt
    assert compose(service, prefix="a", suffix="z")["prompt"] == f"a {tokens} z"


def test_a_given_set(service: Service) -> None:
    """`"adapters": [{"id", "weight"?}]` composes a given set instead of the active one."""
    active(service)
    first, second = service.create(weight=0.5, base_model="Pony"), service.create(base_model="Pony")
    answer = compose(service, adapters=[{"id": second["id"], "weight": 0.25}, {"id": first["id"]}])
    assert sorted(answer["tokens"]) == sorted([token(second, "0.25"), token(first, "0.5")])
    assert service.adapter(first["id"])["active"] is False
    assert service.adapter(second["id"])["weight"] == 1.0


def test_an_unknown_adapter_in_a_set_is_refused(service: Service) -> None:
    """`"adapters": [{"id", "weight"?}]`"""
    response = service.client.post("/api/v1/compose", json={"adapters": [{"id": UNKNOWN_ID}]})
    assert response.status_code in (404, 422)
    assert UNKNOWN_ID in response.text
    for wrong in ([{}], [{"id": 1}], ["x"], "all", [{"id": UNKNOWN_ID, "weight": "heavy"}], [{"id": "x", "y": 1}]):
        service.refused("POST", "/compose", 422, json={"adapters": wrong})


def test_one_token_per_name(service: Service) -> None:
    """One token per name; of several active versions the one with the larger weight stays, and a warning says so."""
    light = active(service, version="v1", weight=0.4)
    active(service, name=light["name"], version="v2", weight=0.9)
    answer = compose(service)
    assert answer["tokens"] == [token(light, "0.9")]
    assert any(light["name"] in warning for warning in answer["warnings"])


@pytest.mark.parametrize("weight", [0, 2.5, -2.001])
def test_strange_weights_are_warned_of(service: Service, weight: float) -> None:
    """Warnings also for: … weight 0 or beyond ±2"""
    adapter = active(service, weight=weight)
    warnings = compose(service)["warnings"]
    assert len(warnings) == 1
    assert adapter["name"] in warnings[0]


@pytest.mark.parametrize("weight", [2, -2, 0.001])
def test_usual_weights_are_not_warned_of(service: Service, weight: float) -> None:
    """Warnings also for: … weight 0 or beyond ±2" and nothing within"""
    active(service, weight=weight)
    assert compose(service)["warnings"] == []


def test_missing_and_invalid_files_are_warned_of(service: Service, world: World) -> None:
    """Warnings also for: … a missing or invalid file"""
    gone, broken, sound = (active(service) for _ in range(3))
    world.sync()
    Path(gone["file_path"]).unlink()
    Path(broken["file_path"]).write_bytes(weights(1)[:100])
    world.sync()
    answer = compose(service)
    assert len(answer["tokens"]) == 3
    states = [service.adapter(adapter["id"])["file_state"] for adapter in (gone, broken, sound)]
    assert states == ["missing", "invalid", "present"]
    warned = [any(adapter["name"] in warning for warning in answer["warnings"]) for adapter in (gone, broken, sound)]
    assert warned == [True, True, False]


def test_base_models_that_do_not_go_together_are_warned_of(service: Service) -> None:
    """Warnings also for: … base models that do not go together"""
    active(service, base_model="SD 1.5")
    active(service, base_model="SDXL 1.0")
    warnings = compose(service)["warnings"]
    assert any("SD 1.5" in warning and "SDXL 1.0" in warning for warning in warnings)


def test_one_base_model_is_not_warned_of(service: Service) -> None:
    """Warnings also for: … base models that do not go together"""
    active(service)
    active(service)
    assert compose(service)["warnings"] == []


def test_an_unknown_base_model_is_warned_of(service: Service) -> None:
    """Warnings also for: … unknown base model"""
    adapter = active(service, base_model=None)
    assert any(adapter["name"] in warning for warning in compose(service)["warnings"])


def test_the_body_may_be_empty(service: Service) -> None:
    """Body `{"prefix"?, "suffix"?, "delivery"?: …}`"""
    adapter = active(service)
    assert compose(service)["tokens"] == [token(adapter)]
    for body in ({"prefix": 1}, {"suffix": []}, {"include_triggers": "perhaps"}, [], "x"):
        service.refused("POST", "/compose", 422, json=body)


@pytest.mark.parametrize(
    "delivery",
    [
        {"mode": "cli", "command": "print"},
        {"mode": "cli", "params": {"command": "print"}},
        {"mode": "cli", "cli": {"command": "print"}},
        {"mode": "cli"},
    ],
)
def test_a_delivery_is_queued(service: Service, delivery: dict[str, Any]) -> None:
    """`delivery` queues the composed prompt; parameters may stand beside `mode`, under `params`, or under the mode's
    name."""
    active(service)
    answer = compose(service, prefix="a", delivery=delivery)
    assert answer["delivery"]["status"] == "pending"
    job = service.get(f"/deliveries/{answer['delivery']['id']}")
    assert (job["prompt"], job["mode"]) == (answer["prompt"], "cli")


def test_no_delivery_is_made_unasked(service: Service) -> None:
    """`"delivery"?: {"id", "status"}`"""
    active(service)
    assert compose(service).get("delivery") is None
    for delivery in ({}, {"mode": "pigeon"}, "cli", {"mode": 1}):
        service.refused("POST", "/compose", 422, json={"delivery": delivery})
