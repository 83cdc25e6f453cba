"""What a document claims about files: names, sizes and hashes, checked for their form alone."""

from typing import Final

from warehouse.civitai.fields import Fields
from warehouse.civitai.records import FileClaim
from warehouse.civitai.values import HASH_LENGTHS, clean_hash
from warehouse.civitai.verdicts import ComplaintCode

_HASH_KINDS: Final = tuple(
    (stated, stated.lower()) for stated in ("AutoV1", "AutoV2", "AutoV3", "SHA256", "CRC32", "BLAKE3")
)


def file_claim(fields: Fields) -> FileClaim:
    """One entry of `files[]`. Hashes that cannot be hashes are complained about and dropped."""
    metadata = fields.child("metadata")
    return FileClaim(
        name=fields.text("name"),
        size_kb=fields.number("sizeKB"),
        hashes=hash_claims(fields, "hashes"),
        primary=fields.flag("primary") is True,
        type=fields.text("type"),
        format=metadata.text("format") if metadata is not None else None,
        download_url=fields.text("downloadUrl"),
    )


def hash_claims(fields: Fields, key: str) -> dict[str, str]:
    """The stated hashes by lower-case kind."""
    inner = fields.child(key)
    if inner is None:
        return {}
    result = {}
    for stated, kind in _HASH_KINDS:
        if stated in inner.data:
            value = hash_claim(inner, stated, kind)
            if value is not None:
                result[kind] = value
    return result


def hash_claim(fields: Fields, key: str, kind: str) -> str | None:
    """One stated hash in lower case; a complaint and None where it cannot be one."""
    text = fields.text(key)
    if text is None:
        return None
    value = clean_hash(kind, text)
    if value is None:
        path = f"{fields.path}.{key}"
        lengths = " or ".join(map(str, HASH_LENGTHS[kind]))
        fields.log.add(
            ComplaintCode.BAD_HASH,
            path,
            f"{path} is no {kind.upper()} ({lengths} hexadecimal digits, and not the hash of nothing): "
            f"{text[:70]!r}; the claim is ignored.",
        )
    return value
