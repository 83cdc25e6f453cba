"""Full text over adapters: how words are cut, and what a question asks for.

One table (`adapter_search`) holds the words; SQLite's FTS5 and PostgreSQL's tsvector index it, each kept true by the
database itself in the same transaction. Neither finds a CJK word of two characters on its own (unicode61 takes a whole
run as one word, trigram needs three), so runs of CJK are cut into overlapping bigrams here, in texts and in queries.
After the bigrams of a run stands its last character, so that every character begins some word of the index: one alone
is found as a prefix, wherever in a run it is.

Does not belong here: SQL (`queries.matching`). Workers of the ingest import this module, and no database.
"""

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

_CJK = (
    "\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003134f"
)
_RUN = re.compile(f"[{_CJK}]+")
_WORD = re.compile(r"[^\W_]+", re.UNICODE)
_OTHER_SEPARATORS = re.compile(r"[^\w\x00-\x7f]+", re.UNICODE)
_SPACED = bytes(code if code > 127 or chr(code).isalnum() else 32 for code in range(256))
"""Translates bytes of UTF-8: what is ASCII and separates words becomes a space."""
_SPACED_AND_FOLDED = _SPACED.lower()
_WITHOUT_OTHERS = _SPACED_AND_FOLDED[:128] + b" " * 128
_ASCII = bytes(range(128))
_CJK_LEADS = re.compile(rb"[\xe3-\xed\xef\xf0]")
"""First bytes in UTF-8 of the characters that are cut into bigrams, and of others."""
_PIECE = re.compile(r'"([^"]*)"?|(\S+)')
MAX_TERMS = 32
"""Words of a query beyond these are ignored: a pasted page is no question."""
MAX_BODY_CHARACTERS = 20_000
"""Of a description: the tail of a longer one is a change log."""


def fold(value: str) -> str:
    """Compatibility-normalised and case-folded: how text and tags are compared."""
    return value.lower() if value.isascii() else unicodedata.normalize("NFKC", value).casefold()


def _pieces(run: str) -> str:
    return " ".join(run[index : index + 2] for index in range(len(run)))


@lru_cache(maxsize=16)
def segment(value: str) -> str:
    """Folded words whose CJK runs are bigrams and their last character, with nothing else between them than spaces.

    Punctuation goes here and not in the database: PostgreSQL's parser takes `v2.5-turbo` or `a.b/c` for one word.
    The last results are kept, because the versions of a model follow each other and share its description.
    """
    if value.isascii():
        return b" ".join(value.encode().translate(_SPACED_AND_FOLDED).split()).decode()
    encoded = value.encode("utf-8", "surrogatepass")
    if _are_symbols(encoded.translate(None, _ASCII)):
        return b" ".join(encoded.translate(_WITHOUT_OTHERS).split()).decode()
    folded = fold(value)
    # Bytes are several times faster to search than characters, and most texts only have an accent or a symbol.
    encoded = folded.encode("utf-8", "surrogatepass").translate(_SPACED)
    spaced = _OTHER_SEPARATORS.sub(" ", encoded.decode("utf-8", "surrogatepass"))
    words = " ".join(spaced.split())
    return _RUN.sub(lambda match: f" {_pieces(match.group())} ", words) if _CJK_LEADS.search(encoded) else words


@lru_cache(maxsize=1_024)
def _are_symbols(others: bytes) -> bool:
    """Whether what is not ASCII in a text, in UTF-8, separates words and stays what it is when it is folded."""
    characters = others.decode("utf-8", "surrogatepass")
    # No mark among them, hence nothing that makes one character with a letter before it.
    return fold(characters) == characters and not any(
        character.isalnum() or unicodedata.combining(character) for character in characters
    )


def search_row(
    *,
    name: str,
    version: str | None,
    author: str | None,
    tags: Iterable[str],
    words: Iterable[str],
    description: str | None,
    notes: str | None,
) -> dict[str, str]:
    """The row of `adapter_search` for an adapter, without its key. `description` is plain text."""
    body = "\n".join(part for part in (author, notes, description) if part)
    return {
        "name": segment(f"{name} {version}" if version else name),
        "triggers": segment("\n".join(words)),
        "tags": segment("\n".join(tags)),
        "body": segment(body[:MAX_BODY_CHARACTERS]),
    }


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed question: every phrase must occur, the last word of an unquoted piece also as a prefix."""

    phrases: tuple[tuple[tuple[str, ...], bool], ...]
    """(words in sequence, whether the last one may be the start of a longer word)"""

    def __bool__(self) -> bool:
        return bool(self.phrases)


def parse(question: str) -> Query:
    """Words and "quoted phrases" of a question; punctuation separates and never reaches the database as syntax."""
    phrases: list[tuple[tuple[str, ...], bool]] = []
    for quoted, bare in _PIECE.findall(question.replace("\x00", " ")):
        if words := _words_in_sequence(quoted or bare):
            phrases.append((words, _is_open(words[-1], bool(bare))))
        if len(phrases) >= MAX_TERMS:
            break
    return Query(tuple(phrases))


def phrase(text: str) -> Query:
    """A text as one phrase, its last word whole."""
    words = _words_in_sequence(text)
    return Query(((words, _is_open(words[-1], False)),)) if words else Query(())


def _words_in_sequence(text: str) -> tuple[str, ...]:
    words = _WORD.findall(segment(text))
    # The text may go on where the question ends, and then the last character of its run is another one.
    if len(words) > 1 and len(words[-1]) == 1 and _RUN.fullmatch(words[-2] + words[-1]) and len(words[-2]) == 2:
        words.pop()
    return tuple(words)


def _is_open(last: str, bare: bool) -> bool:
    """Whether the last word of a piece may be the start of a longer one."""
    if not _RUN.fullmatch(last):
        return bare
    # One character stands for every bigram that it begins. A bigram is the smallest unit that was indexed otherwise, so
    # a prefix of it would match too much.
    return len(last) == 1
