"""Names, versions and trigger words as other programs need them: cleaned, split, never a guess.

What belongs here: pure functions on texts. What does not: choosing between sources.
"""

import re
import unicodedata
from collections.abc import Iterable
from typing import Final

from warehouse.civitai.fields import unique

_FORBIDDEN_IN_NAME: Final = re.compile("[:<>\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_INVISIBLE: Final = re.compile(
    "[\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\ufeff\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
)
_FORBIDDEN_IN_FILE: Final = re.compile(r'[\\/:*?"<>|\x00-\x1f\x7f]+')
_CIVITDL: Final = re.compile(r"-mid_(\d{1,18})-vid_(\d{1,18})")
_CIVITAI_LINK: Final = re.compile(r"civitai[a-z.]*/models/(\d{1,18})(?:[^\s\"'<>]*?[?&;]modelVersionId=(\d{1,18}))?")
_CIVITAI_DOWNLOAD: Final = re.compile(r"civitai[a-z.]*/api/download/models/(\d{1,18})")
_LORA_TAG: Final = re.compile(r"<[^<>:]{1,20}:[^<>]{0,300}>")
_TRIGGER_SEPARATORS: Final = re.compile(r"[,，、;；\n\r]|\|\|")
_GROUP_SEPARATOR: Final = re.compile(r"\s*\|\|\s*")
MAX_FILE_NAME_BYTES: Final = 255
MAX_NAME: Final = 400
"""Characters of a name; with `MAX_VERSION` it keeps what is indexed within a database's page (2,704 bytes)."""
MAX_VERSION: Final = 200
MAX_TAG: Final = 200
MAX_GROUPS: Final = 200
MAX_GROUP: Final = 4000
"""Characters of one trigger group; real ones stay below 2,000."""


def clean_name(text: str) -> str:
    """A name that may stand inside `<lora:name:weight>`: colons, angle brackets and control characters become `-`.

    At most `MAX_NAME` characters.
    """
    return _FORBIDDEN_IN_NAME.sub("-", strip_invisible(text[: 2 * MAX_NAME]).strip())[:MAX_NAME].rstrip()


def strip_invisible(text: str) -> str:
    """The text without zero-width and direction marks and control characters (line breaks and tabs stay).

    Zero-width joiners stay: emoji and several scripts are spelled with them.
    """
    # Nothing invisible counts as printable, nor does a line break, and asking so is far faster than searching.
    if text.isprintable() or text.replace("\n", "").isprintable():
        return text
    return _INVISIBLE.sub("", text)


def canonical_version(name: str | None) -> str | None:
    """A version's name compared and shown: NFKC, single spaces, a leading `v` kept; None if nothing is left."""
    if name is None:
        return None
    text = " ".join(strip_invisible(unicodedata.normalize("NFKC", name)).split())[:MAX_VERSION]
    return text or None


def split_title(title: str) -> tuple[str, str | None]:
    """`Model - Version` cut at the last ` - `; a title without one is a model's name."""
    name, separator, version = title.rpartition(" - ")
    if not separator or not name.strip() or not version.strip():
        return title.strip(), None
    return name.strip(), version.strip()


def civitdl_ids(file_name: str) -> tuple[int, int] | None:
    """Model and version number that civitdl wrote into a file name (`…-mid_1-vid_2.safetensors`)."""
    found = _CIVITDL.search(file_name)
    return (int(found[1]), int(found[2])) if found else None


def civitai_link(text: str) -> tuple[int, int | None] | None:
    """Model and version number of the first link to a model's page on Civitai in the first 4,096 characters."""
    found = _CIVITAI_LINK.search(text[:4096])
    return (int(found[1]), int(found[2]) if found[2] else None) if found else None


def civitai_download(text: str) -> int | None:
    """The version number of an address that Civitai serves downloads at, in the first 4,096 characters."""
    found = _CIVITAI_DOWNLOAD.search(text[:4096])
    return int(found[1]) if found else None


def trigger_groups(text: str) -> tuple[str, ...]:
    """The alternative groups of an activation text, which are joined by ` || `."""
    return tuple(group for group in _GROUP_SEPARATOR.split(text.strip()) if group.strip())


def first_group(groups: Iterable[str]) -> str | None:
    """The first trigger group that says anything: what activates an adapter unless somebody keeps another text."""
    cleaned = (group.strip(" \t\n,") for group in groups)
    return next((group for group in cleaned if group), None)


def triggers(groups: tuple[str, ...]) -> tuple[str, ...]:
    """The single trigger words of all groups: split at commas outside brackets, cleaned, without repetitions."""
    words: list[str] = []
    for group in groups[:MAX_GROUPS]:
        text = _LORA_TAG.sub(",", group) if "<" in group else group
        pieces = _split_outside_brackets(text) if "(" in text else _TRIGGER_SEPARATORS.split(text)
        words.extend(pieces)
    cleaned = (" ".join(strip_invisible(word).split()).strip(" .") for word in words)
    return unique(word for word in cleaned if word)


def _split_outside_brackets(text: str) -> list[str]:
    """Pieces between separators that are not inside round brackets; a bracket never closed is ordinary text."""
    pieces, start, depth = [], 0, 0
    for position, character in enumerate(text):
        if character == "(" and (position == 0 or text[position - 1] != "\\"):
            depth += 1
        elif character == ")" and depth and text[position - 1] != "\\":
            depth -= 1
        elif depth == 0 and _TRIGGER_SEPARATORS.match(character):
            pieces.append(text[start:position])
            start = position + 1
    if depth:
        return _TRIGGER_SEPARATORS.split(text)
    pieces.append(text[start:])
    return pieces


def base_name(file_name: str) -> str | None:
    """The last part of a stated file name, so that a document cannot point outside its folder; None if none is left."""
    text = strip_invisible(file_name).replace("\\", "/").rsplit("/", 1)[-1].strip()
    return None if text in ("", ".", "..") or len(text.encode("utf-8", "replace")) > MAX_FILE_NAME_BYTES else text


def file_name_for(name: str, version: str | None) -> str:
    """A stable file name for a version that states none: `<name>-<version>.safetensors`, safe on every file system."""
    parts = (name, version) if version else (name,)
    stem = "-".join(_FORBIDDEN_IN_FILE.sub("-", part).strip(" .") for part in parts)
    cut = stem.encode()[: MAX_FILE_NAME_BYTES - len(".safetensors")].decode("utf-8", "ignore")
    return f"{cut.strip() or 'unnamed'}.safetensors"
