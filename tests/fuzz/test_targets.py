"""Sound input of every reader, mutated: nothing is raised, nothing hangs."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS

_TOKENS = [
    *(b"{", b"}", b"[", b"]", b'"', b",", b":", b"\\", b"\x00", b"\xff", b"\xed\xa0\x80", b"null", b"-0", b"1e999"),
    *(b"99999999999999999999", b"NaN", b"<lora:", b"<", b">", b"((((", b"\\u0000", b"\\ud800", b"\xff\xd8", b"RIFF"),
]


@st.composite
def _mutated(draw: st.DrawFn, seeds: list[bytes]) -> bytes:
    """A sound input with a few places changed, cut out, doubled, or taken from another one."""
    content = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 4))):
        start = draw(st.integers(0, len(content)))
        end = draw(st.integers(start, min(len(content), start + 64)))
        match draw(st.sampled_from(["flip", "token", "cut", "double", "splice"])):
            case "flip" if start < len(content):
                content[start] ^= 1 << draw(st.integers(0, 7))
            case "token":
                content[start:end] = draw(st.sampled_from(_TOKENS))
            case "cut":
                del content[start : draw(st.sampled_from([end, len(content)]))]
            case "double":
                content[start:start] = content[start:end] * draw(st.sampled_from([1, 40]))
            case _:
                other = draw(st.sampled_from(seeds))
                place = draw(st.integers(0, len(other)))
                content[start:end] = other[place : place + 64]
    return bytes(content)


@pytest.mark.parametrize("name", TARGETS)
def test_a_mutated_input_is_read(name: str) -> None:
    target = TARGETS[name]

    @settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(_mutated(target.seeds()))
    def read(data: bytes) -> None:
        target.read(data)

    for seed in target.seeds():
        target.read(seed)
    read()
