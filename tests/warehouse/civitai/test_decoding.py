"""Bytes that are no document are refused with a typed reason and a sentence that says where and what to do."""

import pytest

from warehouse.civitai import ReasonCode, Shape, Verdict, read_document

MODEL = b'{"id": 1, "name": "A", "type": "LORA", "modelVersions": [{"id": 2, "name": "v1"}]}'


@pytest.mark.parametrize(
    ("raw", "code", "words"),
    [
        (b"", ReasonCode.EMPTY_FILE, ["empty", "fetch"]),
        (b" \n\t", ReasonCode.EMPTY_FILE, ["empty"]),
        (b"\x00" * 64, ReasonCode.EMPTY_FILE, ["zero bytes"]),
        (b"\xef\xbb\xbf", ReasonCode.EMPTY_FILE, ["empty"]),
        ('{"id": 1}'.encode("utf-16"), ReasonCode.UTF16, ["UTF-16", "UTF-8"]),
        ('{"id": 1}'.encode("utf-16-be"), ReasonCode.UTF16, ["UTF-16"]),
        ('{"id": 1}'.encode("utf-16-le"), ReasonCode.UTF16, ["UTF-16"]),
        ('{"id": 1}'.encode("utf-32"), ReasonCode.UTF32, ["UTF-32"]),
        (b'{"a": "x"}\n\n"\xff"', ReasonCode.NOT_UTF8, ["0xff", "offset 13", "line 3"]),
        (b'{\n"a": 1,\n}', ReasonCode.NOT_JSON, ["line 3"]),
        (b'{"a": 1', ReasonCode.NOT_JSON, ["offset 7"]),
        (b'{"a": 1} trailing', ReasonCode.NOT_JSON, ["line 1"]),
        (b'{"a": 1,\n "b": NaN}', ReasonCode.NOT_A_NUMBER, ["NaN", "line 2", "null"]),
        (b'{"a": [-Infinity]}', ReasonCode.NOT_A_NUMBER, ["-Infinity"]),
        (b'{"a": 1e400}', ReasonCode.NUMBER_OUT_OF_RANGE, ["1e400"]),
        (b"1" * 5000, ReasonCode.NUMBER_OUT_OF_RANGE, ["number"]),
        (b"[" * 200_000, ReasonCode.TOO_DEEP, ["nested"]),
        (b'{"a":' * 100_000, ReasonCode.TOO_DEEP, ["nested"]),
        (b'{"\\ud800":' * 100_000, ReasonCode.TOO_DEEP, ["nested"]),
        (b"<!DOCTYPE html><html></html>", ReasonCode.HTML_PAGE, ["HTML"]),
        (b"<html><body>502</body></html>", ReasonCode.HTML_PAGE, ["HTML"]),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", ReasonCode.GIT_LFS_POINTER, ["git lfs pull"]),
        (b"[1, 2]", ReasonCode.NOT_AN_OBJECT, ["a list", "items"]),
        (b'"text"', ReasonCode.NOT_AN_OBJECT, ["a text"]),
        (b"null", ReasonCode.NOT_AN_OBJECT, ["null"]),
        (b"7.5", ReasonCode.NOT_AN_OBJECT, ["a number"]),
        (b"true", ReasonCode.NOT_AN_OBJECT, ["a boolean"]),
    ],
)
def test_refusals(raw: bytes, code: ReasonCode, words: list[str]) -> None:
    reading = read_document(raw, file_name="broken.json")
    assert (reading.verdict, reading.reason_code) == (Verdict.QUARANTINED, code)
    assert reading.reason is not None
    assert reading.reason.startswith("broken.json: ")
    for word in words:
        assert word in reading.reason
    assert reading.records == ()


def test_size_is_capped_before_decoding() -> None:
    reading = read_document(MODEL + b" " * 1000, file_name="x.json", max_bytes=1000)
    assert reading.reason_code is ReasonCode.TOO_LARGE
    assert "1,000" in (reading.reason or "")
    assert read_document(MODEL + b" " * 1000, file_name="x.json").verdict is Verdict.ACCEPTED


def test_byte_order_mark_of_utf8_is_accepted() -> None:
    assert read_document(b"\xef\xbb\xbf" + MODEL, file_name="x.json").shape is Shape.MODEL


def test_of_repeated_keys_the_last_counts() -> None:
    reading = read_document(MODEL.replace(b'"name": "A"', b'"name": "A", "name": "B"'), file_name="x.json")
    assert reading.records[0].model.name == "B"


def test_characters_that_no_database_stores_are_replaced_and_reported() -> None:
    raw = MODEL.replace(b'"A"', b'"A\\u0000B\\ud800C \\ud83d\\ude00"')
    reading = read_document(raw, file_name="x.json")
    assert reading.verdict is Verdict.ACCEPTED
    assert reading.records[0].model.name == "AB\N{REPLACEMENT CHARACTER}C \N{GRINNING FACE}"
    assert [complaint.code for complaint in reading.complaints] == ["bad_characters"]


def test_paired_surrogates_are_no_complaint() -> None:
    reading = read_document(MODEL.replace(b'"A"', b'"\\ud83d\\ude00"'), file_name="x.json")
    assert reading.records[0].model.name == "\N{GRINNING FACE}"
    assert reading.complaints == ()


def test_deep_but_bounded_unknown_values_are_cut_not_refused() -> None:
    nested = b'{"n": ' * 100 + b"1" + b"}" * 100
    reading = read_document(MODEL.replace(b'"type"', b'"odd": ' + nested + b', "type"'), file_name="x.json")
    assert reading.verdict is Verdict.ACCEPTED
    value = reading.records[0].model.extra["odd"]
    depth = 0
    while isinstance(value, dict):
        value, depth = value.get("n"), depth + 1
    assert value is None
    assert 5 < depth < 20
