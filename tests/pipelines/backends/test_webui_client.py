"""The client against the fakes of SD.Next and A1111, over real sockets."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest

from pipelines.backends.asking import BusyError, NoAnswerError, TargetError, UnreachableError
from pipelines.backends.webui.client import Kind, WebUIClient, error_text
from pipelines.backends.webui.outcome import OutcomeError, read_outcome
from tests.fakes.sdnext import Dialect, FakeLora, FakeSDNext, Fault, Mishap
from tests.fakes.server import served

Answer = TypeVar("Answer")
SMALL: dict[str, Any] = {"prompt": "a dragon", "steps": 2, "width": 64, "height": 64, "seed": 1}


def ask(fake: FakeSDNext, question: Callable[[WebUIClient], Awaitable[Answer]], auth: str | None = None) -> Answer:
    async def asked(url: str) -> Answer:
        async with WebUIClient(url, auth=auth) as client:
            return await question(client)

    with served(fake.app) as url:
        return asyncio.run(asked(url))


def generated(fake: FakeSDNext, **parameters: Any) -> Any:
    return ask(fake, lambda client: client.generate({**SMALL, **parameters}, timeout=30))


@pytest.mark.parametrize(
    ("dialect", "configured", "kind"),
    [
        (Dialect.SDNEXT, Kind.SDNEXT, Kind.SDNEXT),
        (Dialect.SDNEXT, Kind.A1111, Kind.SDNEXT),
        (Dialect.A1111, Kind.A1111, Kind.A1111),
        (Dialect.A1111, Kind.SDNEXT, Kind.SDNEXT),
    ],
)
def test_a_server_says_what_it_is_or_is_what_was_configured(dialect: Dialect, configured: Kind, kind: Kind) -> None:
    server = ask(FakeSDNext(dialect), lambda client: client.identify(configured))
    assert server.kind is kind
    assert (server.version is not None) is (dialect is Dialect.SDNEXT)


def test_the_password_is_sent_without_being_asked_for() -> None:
    fake = FakeSDNext(auth="me:secret")
    assert ask(fake, lambda client: client.samplers(), auth="me:secret")
    with pytest.raises(TargetError, match="refuses the user and password"):
        ask(fake, lambda client: client.samplers(), auth="me:wrong")


def test_a_password_in_the_address_is_sent_and_never_shown() -> None:
    async def asked(url: str) -> None:
        async with WebUIClient(url.replace("://", "://me:secret@")) as client:
            assert await client.samplers()
            assert "secret" not in client.base_url
            await client.progress(preview=False)

    with served(FakeSDNext(auth="me:secret").app) as url:
        asyncio.run(asked(url))


@pytest.mark.parametrize(
    ("wanted", "known"), [("diffusers/tiny-sd", True), ("tiny-sd", True), ("tiny", False), ("other", False)]
)
def test_a_checkpoint_is_known_by_its_title_or_file(wanted: str, known: bool) -> None:
    assert ask(FakeSDNext(), lambda client: client.has_checkpoint(wanted)) is known


def test_names_are_those_that_a_prompt_must_use() -> None:
    loras = [FakeLora("style/ink.v1", "ab" * 32), FakeLora("people/ink.v1", "cd" * 32)]
    listed = ask(FakeSDNext(loras=loras), lambda client: client.loras(Kind.SDNEXT))
    assert sorted(item.name for item in listed) == ["people/ink.v1", "style/ink.v1"]
    for kind in Kind:  # a build of SD.Next without pages of networks is asked for what it has
        fake = FakeSDNext(Dialect.A1111, loras=loras[:1])
        listed = ask(fake, lambda client, kind=kind: client.loras(kind))  # type: ignore[misc]
        assert [(item.name, item.path) for item in listed] == [("ink.v1", "/srv/models/Lora/style/ink.v1.safetensors")]


@pytest.mark.parametrize("dialect", list(Dialect))
def test_a_generation_tells_its_pictures_seeds_and_loras(dialect: Dialect) -> None:
    loras = [FakeLora("ink", "ab" * 32), FakeLora("broken", fault=Fault.CORRUPT)]
    prompt = "a <lora:ink:0.5> <lora:broken:1> <lora:gone:1>"
    outcome = read_outcome(
        generated(FakeSDNext(dialect, loras=loras), prompt=prompt, n_iter=2), expected=2, interrupted=False
    )
    assert len(outcome.images) == 2
    assert outcome.seeds == [1, 2]
    assert outcome.applied == {"ink"}
    assert not outcome.is_partial


@pytest.mark.parametrize(
    ("mishap", "word"), [(Mishap.OUT_OF_MEMORY, "no picture"), (Mishap.NO_MODEL, "no model loaded")]
)
def test_a_failure_with_status_200_is_a_failure(mishap: Mishap, word: str) -> None:
    fake = FakeSDNext()
    fake.mishaps.append(mishap)
    answer = generated(fake)
    with pytest.raises(OutcomeError, match=word):
        read_outcome(answer, expected=1, interrupted=False)


def test_fewer_pictures_are_a_failure_unless_we_interrupted() -> None:
    answer = {"images": ["aaaa"], "parameters": {}, "info": '{"seed": 1}'}
    with pytest.raises(OutcomeError, match="only 1 of 2"):
        read_outcome(answer, expected=2, interrupted=False)
    assert read_outcome(answer, expected=2, interrupted=True).is_partial


@pytest.mark.parametrize("answer", [None, [], {"images": None}, {"images": "x", "info": ""}, "text"])
def test_an_answer_of_something_else_is_told(answer: Any) -> None:
    with pytest.raises(OutcomeError, match="no result of a generation"):
        read_outcome(answer, expected=1, interrupted=False)


def test_a_grid_is_no_picture() -> None:
    info = '{"index_of_first_image": 1, "infotexts": ["grid", "one"]}'
    outcome = read_outcome({"images": ["Z3JpZA==", "b25l"], "info": info}, expected=1, interrupted=False)
    assert (outcome.images, outcome.infotexts) == (["b25l"], ["one"])


def test_statuses_are_errors_that_say_what_the_server_said() -> None:
    fake = FakeSDNext()
    with pytest.raises(TargetError, match="Sampler not found"):
        generated(fake, sampler_name="Nonesuch")
    with pytest.raises(TargetError, match="steps: no integer"):
        generated(fake, steps="many")
    fake.mishaps.extend([Mishap.EXCEPTION, Mishap.TYPE_ERROR, Mishap.HANG_UP])
    with pytest.raises(TargetError, match="CUDA error"):
        generated(fake)
    with pytest.raises(TargetError, match="unsupported operand"):
        generated(fake)
    with pytest.raises(NoAnswerError, match="broke the connection"):
        generated(fake)


def test_the_rate_limit_is_an_error_of_its_own() -> None:
    with pytest.raises(BusyError, match="rate limit"):
        generated(FakeSDNext(rate_limit=1))


def test_nothing_at_the_address_is_told_apart_from_no_answer() -> None:
    async def asked() -> None:
        async with WebUIClient("http://127.0.0.1:9") as client:
            await client.identify(Kind.SDNEXT)

    with pytest.raises(UnreachableError, match="start it, or correct its address"):
        asyncio.run(asked())
    with pytest.raises(NoAnswerError, match="in time"):
        ask(FakeSDNext(step_seconds=0.5), lambda client: client.generate(SMALL, timeout=0.2))


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"error": "HTTPException", "code": 404, "detail": "gone", "body": "", "errors": "404: gone"}', "gone"),
        (b'{"error": "RuntimeError", "code": 500, "detail": "", "body": "", "errors": "CUDA"}', "CUDA"),
        (b'{"detail": [{"type": "int", "loc": ["body", "steps"], "msg": "no integer"}]}', "steps: no integer"),
        (b'{"error": "Init image is none"}', "Init image is none"),
        (b'"unsupported operand"', "unsupported operand"),
        (b"<html>", "<html>"),
        (b"", "nothing"),
        (b"[]", "nothing"),
    ],
)
def test_the_shapes_of_errors(body: bytes, text: str) -> None:
    assert error_text(body) == text
