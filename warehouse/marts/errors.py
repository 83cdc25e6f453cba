"""What can go wrong with marts, as types that callers tell apart.

Does not belong here: messages; they stand at the raise, where what and where are known.
"""


class MartError(RuntimeError):
    """A mart could not be made or did not pass its verification. Nothing was published."""


class NothingPublishedError(LookupError):
    """No generation of the marts is published yet, or its files cannot be read."""


class QueryError(ValueError):
    """A query gave no result. The message is meant for whoever wrote it."""


class QueryRefusedError(QueryError):
    """The text is not one SELECT over the published views, so it was not run."""


class QueryFailedError(QueryError):
    """DuckDB could not run the query: a syntax error, an unknown column, a value that cannot be converted."""


class QueryTimeoutError(QueryError):
    """The query ran past its time."""


class QueryTooLargeError(QueryError):
    """The query needed more memory than it may have."""


class QueryCancelledError(RuntimeError):
    """A query was given up because nobody waits for its result any more."""
