"""Opaque cursors of keyset paging: where a page ended, bound to the list it was a page of.

A cursor carries a digest of the list (filters and order) and one of itself: a client that mixes lists or edits a
cursor is told so instead of being answered from somewhere else. It is no secret and grants nothing, so anybody can make
one: what it holds is checked like everything that clients send.
"""

import base64
import binascii
import hashlib
from typing import Annotated, Any

import msgspec

MAX_LENGTH = 16_384
"""Of a cursor as text: it holds the name or the like that its page ended with."""
_CHECK = 8


class CursorError(ValueError):
    """The text is no cursor of this list."""

    def __init__(self, message: str = "this is no cursor: take next_cursor of an answer as it is") -> None:
        super().__init__(message)


class Position(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=True):
    """The last row of a page: the value it was sorted by (None in the tail of unknown values), and its key."""

    listing: str
    """Digest of the filters and the order (`listing_digest`)."""
    rank: Annotated[int, msgspec.Meta(ge=0, le=2**53)]
    """How many rows of the list come up to here, so that a page can say where it stands."""
    pk: Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
    value: str | Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | float | None


def listing_digest(*parts: Any) -> str:
    """A short digest of what defines a list."""
    return hashlib.blake2b(msgspec.json.encode(parts), digest_size=6).hexdigest()


def _check(payload: bytes) -> bytes:
    return hashlib.blake2b(payload, digest_size=_CHECK, person=b"list cursor").digest()


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def encode(position: Position) -> str:
    """The cursor of a position."""
    payload = msgspec.json.encode(position)
    return _text(_check(payload) + payload)


def decode(text: str, listing: str) -> Position:
    """The position of a cursor.

    Raises:
        CursorError: it is malformed, was altered, or belongs to another list.
    """
    if len(text) > MAX_LENGTH:
        raise CursorError("the cursor is too long to be one that this service gave out")
    try:
        raw = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
        check, payload = raw[:_CHECK], raw[_CHECK:]
        # The last character of base64 has spare bits, which decoding ignores: only the canonical text is ours.
        if check != _check(payload) or _text(raw) != text:
            raise CursorError("the cursor was altered: take next_cursor of an answer as it is")
        position = msgspec.json.decode(payload, type=Position)
    except (UnicodeEncodeError, binascii.Error, msgspec.DecodeError) as error:
        raise CursorError from error
    if position.listing != listing:
        raise CursorError("the cursor belongs to another list: keep filters and sort while paging")
    return position
