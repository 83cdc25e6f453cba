"""Values of facets with their counts: tags, base models, archetypes, authors, from the maintained counters.

Does not belong here: keeping the counters (`warehouse.facets`) and filtering by a value (`filters`).
"""

from collections.abc import Sequence

from sqlalchemy import Connection, bindparam, select

from warehouse.models import FacetCount


def counted(connection: Connection, facet: str, *, limit: int) -> list[tuple[str, int]]:
    """The values of a facet that most adapters have, with how many; '' stands for an unknown value."""
    statement = (
        select(FacetCount.value, FacetCount.count)
        .where(FacetCount.facet == facet, FacetCount.count > 0)
        .order_by(FacetCount.count.desc(), FacetCount.value)
        .limit(limit)
    )
    return [(value, count) for value, count in connection.execute(statement)]


_FREQUENCIES = select(FacetCount.value, FacetCount.count).where(
    FacetCount.facet == "tag", FacetCount.value.in_(bindparam("tags", expanding=True)), FacetCount.count > 0
)


def frequencies(connection: Connection, tags: Sequence[str]) -> dict[str, int]:
    """How many adapters have each of the given folded tags; tags that none has are left out."""
    found: dict[str, int] = {}
    for start in range(0, len(tags), 500):
        found.update(connection.execute(_FREQUENCIES, {"tags": tags[start : start + 500]}).all())
    return found
