"""Example images are read in two ways, which must agree: at once, and field by field where a value is odd."""

from typing import Any

import pytest
from hypothesis import example as case
from hypothesis import given, settings
from hypothesis import strategies as st

from warehouse.civitai.fields import Complaints, Fields
from warehouse.civitai.readers.examples import MAX_EXAMPLES, example, examples
from warehouse.civitai.records import Example

_TEXT = st.sampled_from([None, "", " ", "an image", "26", "0.5", 7, True, ["x"], {}])
_NUMBER = st.sampled_from(
    [None, 0, -3, 26, 7.5, 12.0, 2**53 + 1, 2**63, 2**64, 10**400, "26", "7.5", "x", "", False, []]
)
_LEVEL = st.sampled_from([None, 1, 4, 0, 999, "Soft", "None", "?", True, False, 1.5, []])
_RESOURCE = st.fixed_dictionaries(
    {},
    optional={
        "name": _TEXT,
        "modelName": _TEXT,
        "type": _TEXT,
        "weight": _NUMBER,
        "modelVersionId": _NUMBER,
        "hash": _TEXT,
        "x": _TEXT,
    },
)
_RESOURCES = st.one_of(st.none(), st.lists(st.one_of(st.none(), _RESOURCE, st.just("?")), max_size=3), st.just("?"))
_META = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("prompt", "negativePrompt", "sampler"), _TEXT),
        **dict.fromkeys(("steps", "cfgScale", "seed", "Clip skip", "clipSkip"), _NUMBER),
        **dict.fromkeys(("resources", "civitaiResources"), _RESOURCES),
        "meta": st.sampled_from([None, {}, {"prompt": "inner", "seed": 1}, "?"]),
    },
)
_IMAGE = st.fixed_dictionaries(
    {},
    optional={
        **dict.fromkeys(("url", "type", "hash"), _TEXT),
        **dict.fromkeys(("width", "height"), _NUMBER),
        **dict.fromkeys(("nsfwLevel", "nsfw"), _LEVEL),
        "meta": st.one_of(st.none(), _META, st.just("?")),
    },
)


def _fields(images: Any) -> Fields:
    return Fields({"images": images}, "$", Complaints())


def _one_by_one(fields: Fields) -> tuple[Example, ...]:
    return tuple(example(image) for image in fields.children("images") if image.data)[:MAX_EXAMPLES]


@given(st.lists(st.one_of(_IMAGE, st.none(), st.just("?")), max_size=3))
@settings(max_examples=1_000, deadline=None)
@case([{"url": "u", "meta": {"meta": {"prompt": "inner", "seed": 1}}}, {"width": 1}])
@case([{"meta": {"prompt": None, "meta": {"prompt": "inner"}}}])
@case([{}, {"x": 1}, {"url": "u", "width": 8, "meta": {"prompt": "p", "resources": [{"name": "n", "weight": 1}]}}])
def test_both_ways_agree(images: list[Any]) -> None:
    at_once, one_by_one = _fields(images), _fields(images)
    assert repr(examples(at_once)) == repr(_one_by_one(one_by_one)), "types count too"
    assert at_once.log.items == one_by_one.log.items


@pytest.mark.parametrize("images", [None, "?", {}, []])
def test_no_list_of_images_is_none(images: Any) -> None:
    assert examples(_fields(images)) == ()


def test_images_are_bounded() -> None:
    assert len(examples(_fields([{"url": str(number)} for number in range(MAX_EXAMPLES + 5)]))) == MAX_EXAMPLES
