"""What holders of keys prefer: from what they did alone, the older the less, against what the library has."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update

from tests.warehouse.queries.library import adapter_values, insert_adapters
from warehouse import audit, gallery
from warehouse.audit import Actor, Change
from warehouse.catalog import editing, many
from warehouse.engine import Database
from warehouse.ids import new_id
from warehouse.learning import Profile, derive_profiles, profile_of, profiles_due
from warehouse.models import Adapter, AdapterUse, GeneratedImage, UseProfile, utc_now
from warehouse.settings import Settings

SUBJECTS: list[dict[str, Any]] = [
    {"name": "One", "tags": ["Dragon", "ink"], "author_username": "brush", "archetype": "style", "base_model": "Pony"},
    {"name": "Two", "tags": ["dragon"], "author_username": "brush", "archetype": "style", "base_model": "Pony"},
    {
        "name": "Dress",
        "tags": ["dress"],
        "author_username": "needle",
        "archetype": "clothing",
        "base_model": "SDXL 1.0",
    },
    {"name": "Gown", "tags": ["dress"], "author_username": "needle", "archetype": "clothing", "base_model": "SDXL 1.0"},
]


class Holders:
    """A library and those who use it, with and without keys."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.settings = Settings(_env_file=None, api_keys="ann:editor:a-secret,bob:reader:b-secret")
        rows = [adapter_values(number, **subject) for number, subject in enumerate(SUBJECTS)]
        insert_adapters(database, rows)
        self.ids = [row["id"] for row in rows]

    def use(self, name: str | None, positions: Sequence[int], *, days_ago: int = 0, times: int = 1) -> str:
        """Jobs with some adapters; the id of the last."""
        for _ in range(times):
            job_id = new_id()
            rows = [
                {
                    "job_id": job_id,
                    "kind": "generation",
                    "mode": "sdnext",
                    "adapter_id": self.ids[position],
                    "name": str(position),
                    "weight": 1.0,
                    "status": "applied",
                    "others": [],
                    "actor": name,
                    "used_at": utc_now() - timedelta(days=days_ago),
                }
                for position in positions
            ]
            with self.database.write() as connection:
                connection.execute(insert(AdapterUse), rows)
        return job_id

    def picture(self, job_id: str) -> str:
        """A picture of a job; its id."""
        row = {
            "id": new_id(),
            "job_id": job_id,
            "position": 0,
            "mode": "sdnext",
            "sha256": "ab" * 32,
            "format": "png",
            "width": 8,
            "height": 8,
            "size": 9,
            "prompt": "",
            "params": {},
            "is_favorite": False,
            "created_at": utc_now(),
        }
        with self.database.write() as connection:
            connection.execute(insert(GeneratedImage).values(row))
        return str(row["id"])

    def learn(self, **changes: Any) -> dict[str, int]:
        report = derive_profiles(self.database, self.settings.model_copy(update=changes))
        return {"rows": report.rows, "changed": report.changed, "forgotten": report.details["forgotten"]}

    def prefers(self, name: str | None) -> Profile | None:
        with self.database.read() as connection:
            return profile_of(connection, name)

    def due(self) -> bool:
        with self.database.read() as connection:
            return profiles_due(connection, self.settings)


@pytest.fixture
def holders(database: Database) -> Holders:
    return Holders(database)


def test_at_first_nothing_is_known_and_nothing_is_due(holders: Holders) -> None:
    assert not holders.due()
    assert holders.learn() == {"rows": 0, "changed": 0, "forgotten": 0}
    assert holders.prefers("ann") is None
    assert holders.prefers(None) is None


def test_a_holder_prefers_what_it_has_more_of_than_the_library(holders: Holders) -> None:
    holders.use("ann", [0, 1], times=5)
    assert holders.due()
    assert holders.learn()["changed"] == 1
    profile = holders.prefers("ann")
    assert profile is not None
    # Half of the library has the tag and all that was used: the half that is more counts.
    assert profile.tags == {"dragon": 0.5, "ink": 0.25}
    assert profile.authors == {"brush": 0.5}
    assert profile.archetypes == {"style": 0.5}
    assert profile.base_models == {"Pony": 0.5}
    assert profile.confidence == pytest.approx(0.67)
    assert holders.prefers("bob") is None
    assert holders.prefers(None) is None


def test_who_uses_everything_alike_prefers_nothing(holders: Holders) -> None:
    holders.use("ann", [0, 1, 2, 3], times=3)
    holders.learn()
    profile = holders.prefers("ann")
    assert profile is not None
    assert (profile.tags, profile.authors, profile.archetypes, profile.base_models) == ({}, {}, {}, {})


def test_old_use_counts_less(holders: Holders) -> None:
    holders.use("ann", [0, 1], days_ago=90, times=4)
    holders.use("ann", [2, 3], times=4)
    holders.use("bob", [2, 3], days_ago=90, times=4)
    holders.learn()
    ann, bob = holders.prefers("ann"), holders.prefers("bob")
    assert ann is not None
    assert bob is not None
    assert "dress" in ann.tags
    assert "dragon" not in ann.tags
    assert bob.tags == {"dress": 0.5}
    assert bob.confidence < ann.confidence


def _activate(holders: Holders, actor: Actor) -> None:
    fields = {"active": True}
    editing.update(holders.database, holders.settings, holders.ids[0], fields, actor, action="activate")


def _mark(holders: Holders, actor: Actor) -> None:
    many.change_many(holders.database, [holders.ids[0]], many.Order(many.Action.FAVORITE), actor)


def _rate(holders: Holders, actor: Actor) -> None:
    picture = holders.picture(holders.use("somebody gone", [0]))
    with holders.database.write() as connection:
        gallery.rate(connection, picture, 5, actor)


def _like(holders: Holders, actor: Actor) -> None:
    picture = holders.picture(holders.use("somebody gone", [0]))
    with holders.database.write() as connection:
        gallery.mark(connection, [picture], actor, is_favorite=True)


@pytest.mark.parametrize("deed", [_activate, _mark, _rate, _like])
@pytest.mark.parametrize("name", ["ann", None])
def test_what_a_holder_does_is_its_own(
    holders: Holders, deed: Callable[[Holders, Actor], None], name: str | None
) -> None:
    deed(holders, Actor(name, "request"))
    assert holders.due()
    holders.learn()
    profile = holders.prefers(name)
    assert profile is not None
    assert profile.authors == {"brush": 0.5}
    assert holders.prefers("bob") is None
    assert holders.prefers(None if name else "ann") is None
    assert not holders.due()


def _unlike(holders: Holders) -> None:
    picture = holders.picture(holders.use("somebody gone", [0]))
    with holders.database.write() as connection:
        gallery.rate(connection, picture, 2, Actor("ann", "r"))


def _take_back(holders: Holders) -> None:
    picture = holders.picture(holders.use("somebody gone", [0]))
    for is_favorite in (True, False):
        with holders.database.write() as connection:
            gallery.mark(connection, [picture], Actor("ann", "r"), is_favorite=is_favorite)


def _tag(holders: Holders) -> None:
    order = many.Order(many.Action.TAG, tags=["seen"])
    many.change_many(holders.database, [holders.ids[0]], order, Actor("ann", "r"))


@pytest.mark.parametrize("deed", [_unlike, _take_back, _tag])
def test_what_tells_no_liking_is_none(holders: Holders, deed: Callable[[Holders], None]) -> None:
    deed(holders)
    holders.learn()
    assert holders.prefers("ann") is None
    assert not holders.due()


def test_a_profile_is_derived_anew_only_when_something_was_done(holders: Holders) -> None:
    holders.use("ann", [0])
    holders.learn()
    before = holders.prefers("ann")
    assert holders.learn()["changed"] == 0
    _tag(holders)
    assert holders.due()
    assert holders.learn()["changed"] == 0
    assert holders.prefers("ann") == before
    holders.use("ann", [2])
    assert holders.learn()["changed"] == 1


def test_a_profile_ages_by_the_day(holders: Holders) -> None:
    holders.use("ann", [0], days_ago=1, times=5)
    holders.learn()
    fresh = holders.prefers("ann")
    assert fresh is not None
    with holders.database.write() as connection:
        for pk, at in connection.execute(select(AdapterUse.pk, AdapterUse.used_at)).all():
            connection.execute(update(AdapterUse).where(AdapterUse.pk == pk).values(used_at=at - timedelta(days=30)))
        connection.execute(update(UseProfile).values(computed_at=utc_now() - timedelta(days=1)))
    assert not holders.due()
    holders.learn()
    aged = holders.prefers("ann")
    assert aged is not None
    assert aged.confidence < fresh.confidence
    assert aged.authors == fresh.authors


def test_deleted_adapters_are_preferred_no_more(holders: Holders) -> None:
    holders.use("ann", [0])
    with holders.database.write() as connection:
        connection.execute(delete(Adapter).where(Adapter.id == holders.ids[0]))
    holders.learn()
    assert holders.prefers("ann") is None


def test_the_profiles_of_keys_that_are_gone_are_forgotten_and_all_where_nothing_is_to_be_learned(
    holders: Holders,
) -> None:
    holders.use("ann", [0])
    holders.use("bob", [2])
    assert holders.learn()["rows"] == 2
    assert holders.learn(api_keys=[key for key in holders.settings.api_keys if key.name == "bob"])["forgotten"] == 1
    assert holders.prefers("ann") is None
    assert holders.prefers("bob") is not None
    assert holders.learn(learn_from_use=False) == {"rows": 0, "changed": 0, "forgotten": 1}
    holders.settings = holders.settings.model_copy(update={"learn_from_use": False})
    assert not holders.due()


def test_a_flood_of_other_changes_is_looked_through_to_a_bound(holders: Holders) -> None:
    _activate(holders, Actor("ann", "r"))
    noise = [Change("tag", "adapter", holders.ids[0], {}, {"user_tags": ["x"]})] * 2_000
    with holders.database.write() as connection:
        audit.record(connection, Actor("ann", "r"), utc_now(), noise)
    holders.learn()
    assert holders.prefers("ann") is None
