from datetime import timedelta

from sqlalchemy import select, update

from warehouse.engine import Database
from warehouse.models import Lock, utc_now
from warehouse.presence import absent, present


def test_who_is_present_is_known_until_he_leaves(database: Database) -> None:
    assert absent(database, {"run:a", "run:b"}) == {"run:a", "run:b"}
    with present(database, "run:a"):
        assert absent(database, {"run:a", "run:b"}) == {"run:b"}
    assert absent(database, {"run:a"}) == {"run:a"}


def test_who_has_been_silent_for_the_time_of_a_lease_is_absent(database: Database) -> None:
    with present(database, "run:a"):
        with database.write() as connection:
            connection.execute(update(Lock).values(expires_at=utc_now() - timedelta(seconds=1)))
        assert absent(database, {"run:a"}) == {"run:a"}


def test_a_presence_that_nobody_took_back_is_forgotten_after_a_day(database: Database) -> None:
    with present(database, "run:a"), present(database, "run:b"):
        with database.write() as connection:
            long_ago = utc_now() - timedelta(days=2)
            connection.execute(update(Lock).where(Lock.name == "run:a").values(expires_at=long_ago))
        with present(database, "run:c"), database.read() as connection:
            assert set(connection.execute(select(Lock.name)).scalars()) == {"run:b", "run:c"}
