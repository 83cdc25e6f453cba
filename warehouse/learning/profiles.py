"""What the holder of an API key prefers: the tags, authors, archetypes and base models of what that holder uses.

Derived from rows that use leaves behind and nothing else: prompts that were delivered or generated, adapters that were
activated or marked, pictures that were marked or rated well. Of each the latest count, and the older the less. What
everybody's library is full of is nobody's preference: a value counts with the share by which the holder has more of it
than the library.

A key has one row, `use_profiles`, which is derived anew when the holder has done something (its watermark is the newest
of the rows it was derived from) and once a day, for what is old counts less every day. Days are whole, so that nothing
moves within one unless something was used.
"""

import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, Final

from sqlalchemy import Connection, delete, func, or_, select

from warehouse import facets, fulltext
from warehouse.dialects import insert_or
from warehouse.engine import Database
from warehouse.ingest.report import StageReport
from warehouse.models import Adapter, AdapterUse, AuditEntry, FacetCount, GeneratedImage, UseProfile, utc_now
from warehouse.settings import Settings

HALF_LIFE_DAYS: Final = 30
_LATEST: Final = 300
"""Rows of each kind that count."""
_WINDOW: Final = 2_000
"""Audit entries of a holder that are looked through for those that count: most changes tell no preference."""
_ENOUGH: Final = 5.0
"""Uses at which half of a preference is believed."""
_KEPT: Final[Mapping[str, int]] = {"tag": 32, "author_username": 16, "archetype": 8, "base_model": 8}
"""Values that a profile has at most, by facet."""
_LEAST: Final = 0.05
"""A smaller difference of shares is what chance makes."""
_DECIMALS: Final = 2
_USED, _ACTIVATED, _MARKED, _LIKED, _LOVED = 1.0, 1.0, 3.0, 1.0, 2.0
"""What a use, an activation, a mark on an adapter, and a picture rated 4, or 5 or marked, are worth."""
_GOOD, _BEST = 4, 5
_DEEDS: Final = ("activate", "favorite", "update")

Signal = tuple[str, float, datetime]
"""(id of an adapter, what it is worth, when)."""


@dataclass(frozen=True, slots=True)
class Profile:
    """By how much more a holder uses adapters with a value than the library has, 0..1; tags are folded."""

    tags: dict[str, float] = field(default_factory=dict)
    authors: dict[str, float] = field(default_factory=dict)
    archetypes: dict[str, float] = field(default_factory=dict)
    base_models: dict[str, float] = field(default_factory=dict)
    confidence: float = 0.0
    """0..1: how much there is to derive it from."""


def profile_of(connection: Connection, key_name: str | None) -> Profile | None:
    """What the holder of a key prefers (None: whoever asks without one); None where nothing is known."""
    stored = connection.execute(
        select(UseProfile.profile).where(UseProfile.key_name == _stored_name(key_name))
    ).scalar()
    return Profile(**stored) if stored else None


def derive_profiles(database: Database, settings: Settings) -> StageReport:
    """Derive the profiles that are due, one transaction each; where nothing is to be learned, forget them all."""
    started = time.perf_counter()
    names = _names(settings) if settings.learn_from_use else []
    changed = sum(database.transact(partial(_derive, name=name)) for name in names)
    with database.write() as connection:
        known = [_stored_name(name) for name in names]
        forgotten = connection.execute(delete(UseProfile).where(UseProfile.key_name.not_in(known))).rowcount
        rows = connection.execute(select(func.count()).select_from(UseProfile)).scalar_one()
    return StageReport(
        rows=rows,
        changed=changed,
        skipped=max(rows - changed, 0),
        rejected=0,
        seconds=time.perf_counter() - started,
        details={"forgotten": forgotten},
    )


def profiles_due(connection: Connection, settings: Settings) -> bool:
    """Whether any holder has done something since its profile was derived."""
    return settings.learn_from_use and any(
        _newest(connection, name) != (_seen(connection, name)[0] or _NOTHING_SEEN) for name in _names(settings)
    )


def _names(settings: Settings) -> list[str | None]:
    return [None, *sorted({key.name for key in settings.api_keys})]


def _stored_name(key_name: str | None) -> str:
    return key_name or ""


_NOTHING_SEEN: Final = "0 0 -"


def _newest(connection: Connection, name: str | None) -> str:
    """The newest of the rows that a profile is derived from."""
    use = select(func.max(AdapterUse.pk)).where(AdapterUse.actor == name)
    deed = select(func.max(AuditEntry.pk)).where(AuditEntry.actor == name)
    judged = select(func.max(GeneratedImage.judged_at)).where(
        GeneratedImage.judged_by == name, GeneratedImage.judged_at.is_not(None)
    )
    row = connection.execute(select(*(part.scalar_subquery() for part in (use, deed, judged)))).one()
    return f"{row[0] or 0} {row[1] or 0} {row[2].isoformat() if row[2] else '-'}"


def _seen(connection: Connection, name: str | None) -> tuple[str | None, datetime | None]:
    row = connection.execute(
        select(UseProfile.seen, UseProfile.computed_at).where(UseProfile.key_name == _stored_name(name))
    ).first()
    return (row.seen, row.computed_at) if row is not None else (None, None)


def _derive(connection: Connection, *, name: str | None) -> bool:
    """Derive a profile if it is due; whether it is another one now."""
    now = utc_now()
    newest, (seen, computed_at) = _newest(connection, name), _seen(connection, name)
    if (seen or _NOTHING_SEEN) == newest and (computed_at is None or computed_at.date() == now.date()):
        return False
    before = profile_of(connection, name)
    after = _profile(connection, _signals(connection, name), now)
    values = {
        "key_name": _stored_name(name),
        "profile": None if after is None else asdict(after),
        "seen": newest,
        "computed_at": now,
    }
    statement = insert_or(connection, UseProfile)
    renewed = {column: statement.excluded[column] for column in values if column != "key_name"}
    connection.execute(statement.on_conflict_do_update(index_elements=["key_name"], set_=renewed), values)
    return before != after


# What a holder did.


def _signals(connection: Connection, name: str | None) -> list[Signal]:
    return [*_uses(connection, name), *_deeds(connection, name), *_judged(connection, name)]


def _uses(connection: Connection, name: str | None) -> list[Signal]:
    statement = (
        select(AdapterUse.adapter_id, AdapterUse.used_at)
        .where(AdapterUse.actor == name, AdapterUse.adapter_id.is_not(None))
        .order_by(AdapterUse.pk.desc())
        .limit(_LATEST)
    )
    return [(adapter_id, _USED, at) for adapter_id, at in connection.execute(statement) if adapter_id is not None]


def _deeds(connection: Connection, name: str | None) -> list[Signal]:
    entry = AuditEntry
    latest = (
        select(entry.pk, entry.action, entry.subject_id, entry.after, entry.at)
        .where(entry.actor == name, entry.subject_kind == "adapter")
        .order_by(entry.pk.desc())
        .limit(_WINDOW)
        .subquery()
    )
    statement = (
        select(latest.c.subject_id, latest.c.after, latest.c.at)
        .where(latest.c.action.in_(_DEEDS))
        .order_by(latest.c.pk.desc())
        .limit(_LATEST)
    )
    worth = (("active", _ACTIVATED), ("favorite", _MARKED))
    return [
        (subject_id, value, at)
        for subject_id, after, at in connection.execute(statement)
        for column, value in worth
        if after and after.get(column) is True
    ]


def _judged(connection: Connection, name: str | None) -> list[Signal]:
    """The adapters of pictures that the holder marked or rated well."""
    image = GeneratedImage
    statement = (
        select(image.job_id, image.rating, image.is_favorite, image.judged_at)
        .where(
            image.judged_by == name,
            image.judged_at.is_not(None),
            image.deleted_at.is_(None),
            or_(image.is_favorite, image.rating >= _GOOD),
        )
        .order_by(image.judged_at.desc())
        .limit(_LATEST)
    )
    rows = connection.execute(statement).all()
    used: defaultdict[str, list[str]] = defaultdict(list)
    jobs = sorted({row.job_id for row in rows})
    for job_id, adapter_id in connection.execute(
        select(AdapterUse.job_id, AdapterUse.adapter_id).where(
            AdapterUse.job_id.in_(jobs), AdapterUse.adapter_id.is_not(None)
        )
    ):
        used[job_id].append(str(adapter_id))
    return [
        (adapter_id, _LOVED if row.is_favorite or row.rating == _BEST else _LIKED, row.judged_at)
        for row in rows
        for adapter_id in used[row.job_id]
    ]


# What that tells.


def _profile(connection: Connection, signals: Iterable[Signal], now: datetime) -> Profile | None:
    worth: defaultdict[str, float] = defaultdict(float)
    for adapter_id, value, at in signals:
        age = max((now.date() - at.date()).days, 0)
        worth[adapter_id] += value * 0.5 ** (age / HALF_LIFE_DAYS)
    chosen = sorted(worth, key=lambda key: (-worth[key], key))[:_LATEST]
    columns = (Adapter.id, Adapter.tags, Adapter.author_username, Adapter.archetype, Adapter.base_model)
    rows = connection.execute(select(*columns).where(Adapter.id.in_(chosen)).order_by(Adapter.pk)).all()
    total = sum(worth[row.id] for row in rows)
    if not total:
        return None
    found: dict[str, defaultdict[str, float]] = {facet: defaultdict(float) for facet in _KEPT}
    for row in rows:
        for tag in {fulltext.fold(tag).strip() for tag in row.tags} - {""}:
            found["tag"][tag] += worth[row.id]
        for facet in ("author_username", "archetype", "base_model"):
            value = getattr(row, facet)
            if value:
                found[facet][value] += worth[row.id]
    more = {facet: _more(connection, facet, values, total) for facet, values in found.items()}
    return Profile(
        tags=more["tag"],
        authors=more["author_username"],
        archetypes=more["archetype"],
        base_models=more["base_model"],
        confidence=round(total / (total + _ENOUGH), _DECIMALS),
    )


def _more(connection: Connection, facet: str, worth: Mapping[str, float], total: float) -> dict[str, float]:
    """The values that the holder has more of than the library, by how much; those with the most."""
    library = facets.count_of(connection)
    candidates = sorted(worth, key=lambda value: (-worth[value], value))[:_LATEST]
    counts = _counts(connection, facet, candidates)
    shares = {value: worth[value] / total - counts.get(value, 0) / max(library, 1) for value in candidates}
    rounded = {value: share for value in candidates if (share := round(shares[value], _DECIMALS)) >= _LEAST}
    kept = sorted(rounded, key=lambda value: (-rounded[value], value))[: _KEPT[facet]]
    return {value: rounded[value] for value in sorted(kept)}


def _counts(connection: Connection, facet: str, values: Sequence[str]) -> dict[str, Any]:
    statement = select(FacetCount.value, FacetCount.count).where(
        FacetCount.facet == facet, FacetCount.value.in_(values)
    )
    return dict(connection.execute(statement).all())
