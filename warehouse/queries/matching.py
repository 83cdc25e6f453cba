"""Full text in SQL: which adapters a parsed question matches, and how well, on either dialect.

Does not belong here: how words are cut and questions parsed (`warehouse.fulltext`), and what is done with the matches.
"""

from sqlalchemy import BigInteger, ColumnElement, Select, func, literal_column, select, text

from warehouse.fulltext import Query
from warehouse.models import AdapterSearch


def _fts5(query: Query) -> str:
    return " AND ".join('"' + " ".join(words) + '"' + ("*" if prefix else "") for words, prefix in query.phrases)


def _tsquery(query: Query) -> str:
    return " & ".join(
        "(" + " <-> ".join([*(f"'{word}'" for word in words[:-1]), f"'{words[-1]}'" + (":*" if prefix else "")]) + ")"
        for words, prefix in query.phrases
    )


def matches(query: Query, *, sqlite: bool) -> Select[int, float]:
    """A select of (adapter_pk, score), the higher the better, of the adapters that a query matches, unordered."""
    if sqlite:
        # bm25() is negative, the better the smaller; weights: name, triggers, tags, body.
        score: ColumnElement[float] = literal_column("-bm25(adapter_fts, 10.0, 6.0, 4.0, 1.0)")
        return (
            select(literal_column("rowid", BigInteger).label("adapter_pk"), score.label("score"))
            .select_from(text("adapter_fts"))
            .where(text("adapter_fts MATCH :fts_query").bindparams(fts_query=_fts5(query)))
        )
    tsquery = func.to_tsquery("simple", _tsquery(query))
    vector: ColumnElement[str] = literal_column("adapter_search.words")
    return select(AdapterSearch.adapter_pk.label("adapter_pk"), func.ts_rank_cd(vector, tsquery).label("score")).where(
        vector.op("@@")(tsquery)
    )
