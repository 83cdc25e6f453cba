"""`read_document`: bytes of one metadata document to typed records, a verdict, and complaints.

What belongs here: telling shapes apart and judging whether a document is about a LoRA adapter. Keys are read in
`readers`; nothing is decided between documents.
"""

from collections.abc import Callable
from typing import Any, Final

import msgspec

from warehouse.civitai.decoding import MAX_DOCUMENT_BYTES, Refusal, decode
from warehouse.civitai.fields import Complaints, Fields
from warehouse.civitai.readers import (
    a1111,
    api,
    header_dump,
    invokeai,
    lora_manager,
    rgthree,
    search_hit,
    stability_matrix,
    swarm,
)
from warehouse.civitai.records import Complaint, JsonObject, Reading, Record
from warehouse.civitai.values import is_lora_type
from warehouse.civitai.verdicts import ComplaintCode, ReasonCode, Shape, Verdict

MAX_ITEMS: Final = 10_000
"""Models of one list page; Civitai gives at most 100."""
_VERSION_MARKS: Final = frozenset({"files", "images", "trainedWords", "baseModel", "model"})
# A person's note without any of A1111's own marks.
_PLAIN_A1111: Final = frozenset({"description", "notes", "negative text"})
_HEADER_MARKS: Final = ("ss_", "sshs_")
_ADAPTER_SUFFIXES: Final = ("lora", "locon", "lycoris", "dora", "loha", "lokr", "control-lora")
_INFO_SUFFIX: Final = ".civitai.info"
_READERS: Final[dict[Shape, Callable[[Fields], tuple[Record, ...]]]] = {
    Shape.MODEL: api.read_model,
    Shape.SEARCH_HIT: search_hit.read,
    Shape.VERSION: api.read_version,
    Shape.A1111: a1111.read,
    Shape.LORA_MANAGER: lora_manager.read,
    Shape.STABILITY_MATRIX: stability_matrix.read,
    Shape.SWARM: swarm.read,
    Shape.RGTHREE: rgthree.read,
    Shape.INVOKEAI: invokeai.read,
    Shape.HEADER_DUMP: header_dump.read,
}


def read_document(raw: bytes, *, file_name: str, max_bytes: int = MAX_DOCUMENT_BYTES) -> Reading:
    """Read one document. Never raises: whatever is wrong becomes the verdict, its reason, or a complaint.

    `file_name` is only a hint: it tells a `.civitai.info` from any other version document.
    """
    try:
        value, replaced = decode(raw, max_bytes=max_bytes)
    except Refusal as refusal:
        return Reading(
            shape=Shape.UNKNOWN,
            verdict=Verdict.QUARANTINED,
            reason_code=refusal.code,
            reason=f"{file_name}: {refusal}",
        )
    log = Complaints()
    if replaced:
        log.add(
            ComplaintCode.BAD_CHARACTERS,
            "$",
            "The document holds NUL characters or halves of surrogate pairs; they were replaced.",
        )
    if not isinstance(value, dict):
        return _refuse(
            Verdict.QUARANTINED,
            Shape.UNKNOWN,
            ReasonCode.NOT_AN_OBJECT,
            f"{file_name}: The top level is {_kind(value)}, but metadata is a JSON object ({{…}}). "
            'If this is a list of models, put it under the key "items".',
        )
    return _read_object(value, file_name, log)


def _kind(value: Any) -> str:
    return {list: "a list", str: "a text", bool: "a boolean", type(None): "null"}.get(type(value), "a number")


def _refuse(verdict: Verdict, shape: Shape, code: ReasonCode, reason: str, log: Complaints | None = None) -> Reading:
    return Reading(
        shape=shape, verdict=verdict, reason_code=code, reason=reason, complaints=tuple(log.items) if log else ()
    )


def _read_object(data: JsonObject, file_name: str, log: Complaints) -> Reading:
    is_info = file_name.casefold().endswith(_INFO_SUFFIX)
    if not data or data.keys() == {"error"}:
        return _read_nothing(data, file_name, is_info)
    shape = detect_shape(data)
    fields = Fields(data, "$", log)
    if shape is Shape.PAGE:
        return _read_page(fields, file_name)
    if shape is Shape.HEADER_DUMP and isinstance(data.get("__metadata__"), dict):
        fields = Fields(data["__metadata__"], "$.__metadata__", log)
    if shape is Shape.UNKNOWN:
        return _refuse(
            Verdict.LEFT_OUT,
            shape,
            ReasonCode.NOT_ADAPTER_METADATA,
            f"{file_name}: The keys ({_some_keys(data)}) are those of no known kind of LoRA metadata.",
        )
    records = _READERS[shape](fields)
    other_type = _non_lora_type(shape, records, fields)
    if is_info and shape is Shape.VERSION:
        shape = Shape.CIVITAI_INFO
        records = tuple(msgspec.structs.replace(record, shape=shape) for record in records)
    if other_type is not None:
        return _refuse(
            Verdict.LEFT_OUT,
            shape,
            ReasonCode.NOT_A_LORA,
            f"{file_name}: The model's type is {other_type}; only LoRA adapters (LORA, LoCon, LyCORIS, DoRA) "
            "are taken.",
            log,
        )
    _note_missing_type(shape, records, log)
    return Reading(shape=shape, verdict=Verdict.ACCEPTED, records=records, complaints=tuple(log.items))


def _read_nothing(data: JsonObject, file_name: str, is_info: bool) -> Reading:
    if is_info or data:
        answer = str(data.get("error", ""))[:120]
        return _refuse(
            Verdict.NOT_FOUND,
            Shape.CIVITAI_INFO if is_info else Shape.UNKNOWN,
            ReasonCode.ASKED_NOT_FOUND,
            f"{file_name}: A tool asked Civitai for this file and it was not found"
            + (f" (answer: {answer})." if answer else "."),
        )
    return _refuse(
        Verdict.LEFT_OUT, Shape.UNKNOWN, ReasonCode.EMPTY_DOCUMENT, f"{file_name}: The document is an empty object."
    )


def _some_keys(data: JsonObject) -> str:
    names = [key[:40] for key in list(data)[:5]]
    return ", ".join(names) + (", …" if len(data) > len(names) else "")


def detect_shape(data: JsonObject) -> Shape:
    """The shape of a JSON object, by its keys alone; the order of the tests settles documents that merge two shapes."""
    for recognise in (_civitai_shape, _tool_shape, _header_shape):
        shape = recognise(data)
        if shape is not None:
            return shape
    return Shape.UNKNOWN


def _civitai_shape(data: JsonObject) -> Shape | None:
    if isinstance(data.get("items"), list):
        return Shape.PAGE
    if "modelVersions" in data:
        return Shape.MODEL
    if "metrics" in data and ("triggerWords" in data or "versions" in data or "version" in data):
        return Shape.SEARCH_HIT
    if "modelId" in data and not data.keys().isdisjoint(_VERSION_MARKS):
        return Shape.VERSION
    if isinstance(data.get("type"), str) and {"id", "creator", "stats"} <= data.keys():
        # A model item whose versions were stripped.
        return Shape.MODEL
    return None


def _tool_shape(data: JsonObject) -> Shape | None:
    if not data.keys().isdisjoint(a1111.MARKS) or (data and data.keys() <= _PLAIN_A1111):
        return Shape.A1111
    if "sha256" in data and "file_name" in data and ("usage_tips" in data or "civitai" in data):
        return Shape.LORA_MANAGER
    if "ModelId" in data and "VersionId" in data:
        return Shape.STABILITY_MATRIX
    if _is_rgthree(data):
        return Shape.RGTHREE
    if {"key", "hash", "base", "type"} <= data.keys():
        return Shape.INVOKEAI
    return None


def _is_rgthree(data: JsonObject) -> bool:
    raw, words = data.get("raw"), data.get("trainedWords")
    if isinstance(raw, dict) and "civitai" in raw:
        return True
    if isinstance(words, list) and words and isinstance(words[0], dict) and "word" in words[0]:
        return True
    return "hasInfoFile" in data and "file" in data


def _header_shape(data: JsonObject) -> Shape | None:
    if isinstance(data.get("__metadata__"), dict):
        return Shape.HEADER_DUMP
    if any(key.startswith(_HEADER_MARKS) for key in data):
        return Shape.HEADER_DUMP
    if any(key.startswith(swarm.PREFIX) for key in data):
        return Shape.SWARM
    software = data.get("software")
    if "training_info" in data or (isinstance(software, dict) and software.get("name") == "ai-toolkit"):
        return Shape.HEADER_DUMP
    return None


def _non_lora_type(shape: Shape, records: tuple[Record, ...], fields: Fields) -> str | None:
    """The type that rules a document out, or None. An absent type rules nothing out."""
    if shape in (Shape.SWARM, Shape.HEADER_DUMP):
        return _non_lora_architecture(fields)
    stated = records[0].model.type if records else None
    if stated is None:
        stated = _air_type(records)
    if stated is None or is_lora_type(stated):
        return None
    return stated.strip()[:60]


def _non_lora_architecture(fields: Fields) -> str | None:
    stated = swarm.architecture(fields)
    if stated is None or "ss_network_module" in fields.data:
        return None
    base, separator, suffix = stated.partition("/")
    if not separator:
        return f"a base model ({base[:60]})"
    return None if suffix.startswith(_ADAPTER_SUFFIXES) else suffix[:60]


def _air_type(records: tuple[Record, ...]) -> str | None:
    """The type inside an AIR (`urn:air:sd1:lora:civitai:1@2`), where the document states no type of its own."""
    for record in records:
        air = record.version.extra.get("air") if record.version is not None else None
        if isinstance(air, str) and air.startswith("urn:air:") and air.count(":") >= 4:
            return air.split(":")[3]
    return None


def _note_missing_type(shape: Shape, records: tuple[Record, ...], log: Complaints) -> None:
    if shape in (Shape.MODEL, Shape.SEARCH_HIT) and records and records[0].model.type is None:
        log.add(
            ComplaintCode.TYPE_MISSING,
            "$.type",
            "$.type is missing or unusable; the document is taken as a LoRA's because nothing says otherwise.",
        )


def _read_page(fields: Fields, file_name: str) -> Reading:
    """A list page: every LoRA item is read, every other one is noted with its type."""
    records: list[Record] = []
    types: set[str] = set()
    for item in fields.children("items", MAX_ITEMS):
        shape = detect_shape(item.data)
        if shape not in (Shape.MODEL, Shape.SEARCH_HIT, Shape.VERSION):
            fields.log.add(ComplaintCode.LEFT_OUT_ITEM, item.path, f"{item.path} is no model; it is left out.")
            continue
        found = _READERS[shape](item)
        other_type = _non_lora_type(shape, found, item)
        if other_type is not None:
            types.add(other_type)
            fields.log.add(
                ComplaintCode.LEFT_OUT_ITEM, item.path, f"{item.path} has the type {other_type}; it is left out."
            )
            continue
        records.extend(found)
    if records:
        return _accepted_page(records, fields.log.items)
    if types:
        return _refuse(
            Verdict.LEFT_OUT,
            Shape.PAGE,
            ReasonCode.NOT_A_LORA,
            f"{file_name}: None of the page's models is a LoRA adapter (types: {', '.join(sorted(types))}).",
            fields.log,
        )
    return _refuse(
        Verdict.LEFT_OUT, Shape.PAGE, ReasonCode.EMPTY_PAGE, f"{file_name}: The list page holds no model.", fields.log
    )


def _accepted_page(records: list[Record], complaints: list[Complaint]) -> Reading:
    return Reading(shape=Shape.PAGE, verdict=Verdict.ACCEPTED, records=tuple(records), complaints=tuple(complaints))
