"""What a person typed or piped in, as text that everything below can take.

Arguments and pipes are bytes of any encoding: what is no UTF-8 in them becomes U+FFFD, so that a prompt copied from an
old file is still answered, and nothing further down meets half a surrogate pair.
"""

import sys


def given_text(argument: str) -> str:
    """An argument of the command line."""
    return argument.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def piped_text() -> str:
    """All of the standard input, without a byte order mark."""
    return sys.stdin.buffer.read().decode("utf-8-sig", "replace")
