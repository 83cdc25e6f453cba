"""The export: what is in the tables is in the marts, and nothing is published that is not whole."""

import json
import os
import subprocess
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.parquet as pq
import pytest
from sqlalchemy import delete, insert, update

from tests.warehouse.marts import library
from warehouse import generations
from warehouse.engine import Database
from warehouse.generations import Published
from warehouse.marts import (
    FACTS,
    KIND,
    MARTS,
    MartError,
    current_link,
    export_marts,
    follow_pointer,
    open_catalog,
    read_mart,
    snapshot_statistics,
)
from warehouse.marts.catalog import mart_files
from warehouse.models import Adapter, CommunityStatistic
from warehouse.settings import Settings

Rows = list[dict[str, Any]]


def _rows(database: Database, settings: Settings, sql: str) -> Rows:
    with open_catalog(database, settings) as connection:
        cursor = connection.execute(sql)
        names = [column[0] for column in cursor.description or []]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _by_id(rows: Rows) -> dict[int, dict[str, Any]]:
    return {int(row["adapter_id"][-4:]): row for row in rows}


def test_an_adapter_is_told_whole(filled: Database, settings: Settings) -> None:
    export_marts(filled, settings)
    first = _by_id(_rows(filled, settings, "FROM adapters"))[1]
    expected = {
        "name": "水墨画風 🖌️",
        "author": "作者",
        "nsfw_rating": "PG",
        "tags": ["Ink", "水墨"],
        "downloads": 5_000,
        "rating": 4.9,
        "comments": 12,
        "allow_no_credit": True,
        "allow_commercial_use": ["Image", "Rent"],
        "allow_derivatives": False,
        "allow_different_license": None,
        "file_bytes": 1_000,
        "valid": True,
        "rank": 16,
        "detected_base_model": "SDXL 1.0",
        "has_preview": True,
        "has_description": True,
        "active": True,
        "created_at": (library.START + timedelta(days=1)).replace(tzinfo=None),
    }
    assert {key: first[key] for key in expected} == expected
    assert json.loads(first["stats"])["tippedAmountCount"] == 1.5


def test_missing_stays_null_and_dirty_values_do_not_stop_the_export(filled: Database, settings: Settings) -> None:
    export_marts(filled, settings)
    rows = _by_id(_rows(filled, settings, "FROM adapters"))
    assert rows[2]["name"] == "quote \" and ' and \\ and\nline"
    assert rows[2]["comments"] is None
    assert rows[2]["user_tags"] == ["mine", "7"]
    assert rows[4]["comments"] is None
    assert (rows[4]["downloads"], rows[4]["rating"], rows[4]["file_bytes"], rows[4]["valid"]) == (0, None, None, None)
    assert (rows[5]["allow_no_credit"], rows[5]["allow_commercial_use"]) == (None, None)
    assert rows[4]["nsfw_rating"] is None
    assert rows[2]["nsfw_rating"] == "XXX"


def test_every_fact_has_the_rows_of_its_tables(filled: Database, settings: Settings) -> None:
    published = export_marts(filled, settings)
    rows = {name: facts["rows"] for name, facts in published.manifest["marts"].items()}
    assert list(rows) == [mart.name for mart in MARTS]
    expected = {
        "adapters": 5,
        "adapter_tags": 7,
        "files": 4,
        "inspections": 3,
        "documents": 5,
        "findings": 2,
        "duplicates": 2,
        "community_statistics": 4,
        "embeddings": 4,
        "generations": 0,
    }
    assert {name: rows[name] for name in expected} == expected
    files = {int(row["file_key"]): row for row in _rows(filled, settings, "FROM files")}
    assert [files[pk]["hashes_current"] for pk in (1, 2, 3, 5)] == [True, False, True, False]
    assert files[1]["autov2"] == f"{1:064x}"[:10]
    assert files[1]["modified_at"] == library.START.replace(tzinfo=None, microsecond=0)


def test_aggregates_are_right(filled: Database, settings: Settings) -> None:
    published = export_marts(filled, settings)

    def read(name: str) -> Rows:
        return read_mart(filled, settings, name)

    assert [(row["base_model"], row["adapters"]) for row in read("adapters_by_base_model")] == [
        ("SDXL 1.0", 2),
        (None, 2),
        ("Pony", 1),
    ]
    summary = read("library_summary")[0]
    assert summary["exported_at"] == datetime.fromisoformat(published.manifest["exported_at"]).replace(tzinfo=None)
    expected = {
        "adapters": 5,
        "adapters_present": 2,
        "adapters_remote": 1,
        "adapters_without_triggers": 4,
        "adapters_embedded": 1,
        "files": 3,
        "file_bytes": 2_000,
        "files_invalid": 1,
        "files_unhashed": 1,
        "documents": 4,
        "documents_quarantined": 1,
        "findings": 2,
        "wasted_bytes": 1_000,
        "tags": 4,
        "authors": 1,
    }
    assert {key: summary[key] for key in expected} == expected
    coverage = {row["space"]: row for row in read("embeddings_coverage")}
    assert list(coverage) == ["semantic", "artistic", "technical"]
    assert (coverage["semantic"]["adapters_current"], coverage["semantic"]["adapters_stale"]) == (1, 1)
    assert (coverage["technical"]["adapters_without"], coverage["technical"]["coverage"]) == (4, 0.2)
    assert read("tag_pairs")[0] == {"tag": "girl", "other_tag": "ink", "adapters": 2, "lift": pytest.approx(10 / 6)}
    assert [row["at_least_bytes"] for row in read("library_sizes")] == [0, 512]
    trends = {row["day"]: row["downloads_gained"] for row in read("community_trends")}
    assert trends == {library.DAY: 0, date(2026, 3, 2): 15, date(2026, 3, 4): 4_975}
    growth = read("library_growth")
    assert growth[-1]["adapters_total"] == 5
    assert growth == sorted(growth, key=lambda row: row["day"])


def test_gains_are_counted_from_the_snapshot_before_each_span(sqlite_database: Database, settings: Settings) -> None:
    library.fill(sqlite_database)
    today = datetime.now(UTC).date()
    history = ((2, 10, 100, 1), (2, 3, 150, 1), (2, 0, 170, 4), (1, 0, 90, None), (3, 20, 7, None), (3, 2, 6, None))
    with sqlite_database.write() as connection:
        connection.execute(delete(CommunityStatistic))
        connection.execute(
            insert(CommunityStatistic),
            [
                {"adapter_pk": pk, "day": today - timedelta(days=days), "downloads": downloads, "likes": likes}
                for pk, days, downloads, likes in history
            ],
        )
    export_marts(sqlite_database, settings)
    rows = read_mart(sqlite_database, settings, "community_movers")
    # One snapshot is no gain, and a number that fell is none either.
    assert len({row["adapter_id"] for row in rows}) == 1
    gains = {row["time_range"]: (row["downloads_gained"], row["likes_gained"]) for row in rows}
    assert gains == {"24h": (20, 3), "7d": (70, 3), "30d": (70, 3), "90d": (70, 3), "all": (70, 3)}


def test_an_empty_library_has_marts_too(database: Database, settings: Settings) -> None:
    published = export_marts(database, settings)
    assert {name for name, facts in published.manifest["marts"].items() if facts["rows"]} == {
        "library_summary",
        "embeddings_coverage",
    }
    assert [row["coverage"] for row in read_mart(database, settings, "embeddings_coverage")] == [None] * 3
    assert _rows(database, settings, "SELECT count(*) AS n FROM community_statistics") == [{"n": 0}]


def test_files_explain_themselves(published: Published) -> None:
    for mart in MARTS:
        schema = pq.read_schema(mart_files(published.path, mart.name)[0])
        assert schema.metadata[b"description"].decode() == mart.description
        for column in mart.columns:
            assert schema.field(column.name).metadata[b"description"].decode() == column.description


def test_comments_reach_duckdb(sqlite_database: Database, settings: Settings, published: Published) -> None:
    rows = _rows(sqlite_database, settings, "SELECT table_name, column_name, comment FROM duckdb_columns()")
    comments = {(row["table_name"], row["column_name"]): row["comment"] for row in rows}
    for mart in MARTS:
        for column in mart.columns:
            assert comments[mart.name, column.name] == column.description
    views = _rows(sqlite_database, settings, "SELECT view_name, comment FROM duckdb_views() WHERE NOT internal")
    assert all(row["comment"] for row in views)
    assert {row["view_name"] for row in views} == {mart.name for mart in MARTS}


def test_every_column_is_described() -> None:
    for mart in MARTS:
        assert mart.description.endswith(".")
        assert len({column.name for column in mart.columns}) == len(mart.columns)
        assert all(len(column.description) > 5 for column in mart.columns)


def test_days_that_are_over_are_written_once(filled: Database, settings: Settings) -> None:
    first = export_marts(filled, settings)
    with filled.write() as connection:
        connection.execute(update(Adapter).where(Adapter.pk == 2).values(downloads=101))
    snapshot_statistics(filled, date(2026, 3, 4))
    second = export_marts(filled, settings)

    def part(generation: Published, day: str) -> Path:
        return generation.path / "community_statistics" / f"day={day}" / "part.parquet"

    for day in ("2026-03-01", "2026-03-02"):
        assert part(first, day).samefile(part(second, day))
    assert not part(first, "2026-03-04").samefile(part(second, "2026-03-04"))
    assert pq.read_table(part(second, "2026-03-04")).num_rows == 3

    with filled.write() as connection:
        connection.execute(delete(CommunityStatistic).where(CommunityStatistic.adapter_pk == 2))
    third = export_marts(filled, settings)
    assert pq.read_table(part(third, "2026-03-01")).num_rows == 1
    assert pq.read_table(part(second, "2026-03-01")).num_rows == 2


def test_the_stable_path_follows_publication_and_roll_back(
    sqlite_database: Database, settings: Settings, published: Published
) -> None:
    second = export_marts(sqlite_database, settings)
    link = current_link(settings)
    assert link.resolve() == second.path
    generations.roll_back(sqlite_database, KIND, published.name)
    assert follow_pointer(sqlite_database, settings).resolve() == published.path
    with duckdb.connect(str(link / "catalog.duckdb"), read_only=True) as connection:
        assert connection.execute("SELECT count(*) FROM adapters").fetchone() == (5,)


def test_something_else_at_the_stable_path_is_left_alone(sqlite_database: Database, settings: Settings) -> None:
    occupied = current_link(settings)
    occupied.mkdir(parents=True)
    (occupied / "notes.txt").write_text("mine")
    with pytest.raises(MartError, match="Move away"):
        export_marts(sqlite_database, settings)
    assert (occupied / "notes.txt").read_text() == "mine"


def test_published_files_are_read_only(published: Published) -> None:
    files = [*published.path.rglob("*.parquet"), published.path / "catalog.duckdb"]
    assert {path.stat().st_mode & 0o777 for path in files} == {0o444}


def test_a_value_that_does_not_fit_names_its_column(sqlite_database: Database, settings: Settings) -> None:
    library.fill(sqlite_database)
    with sqlite_database.write() as connection:
        connection.exec_driver_sql("UPDATE adapters SET downloads = 'lots' WHERE pk = 2")
    before = generations.current(sqlite_database, settings, KIND)
    with pytest.raises(MartError, match="mart adapters, column downloads"):
        export_marts(sqlite_database, settings)
    assert generations.current(sqlite_database, settings, KIND) == before
    assert list((settings.generations_dir / KIND).iterdir()) == []


_EXPORT = """
import resource, sys
from warehouse.engine import connect
from warehouse.marts import export_marts
from warehouse.settings import Settings
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[3]), resource.RLIM_INFINITY))
try:
    export_marts(connect(sys.argv[1]), Settings(_env_file=None, data_dir=sys.argv[2]))
except Exception as error:
    print(type(error).__name__, error)
    sys.exit(3)
"""


@pytest.mark.parametrize(("noise", "error"), [(0, "MartError the catalog in"), (200_000, "PublicationError")])
def test_a_file_that_cannot_be_written_leaves_the_generation_before_in_use(
    sqlite_database: Database, settings: Settings, published: Published, noise: int, error: str
) -> None:
    with sqlite_database.write() as connection:
        connection.execute(update(Adapter).where(Adapter.pk == 1).values(activation_text=os.urandom(noise).hex()))
    with sqlite_database.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    url = sqlite_database.engine.url.render_as_string(hide_password=False)
    # No file beyond 100,000 bytes can be written: enough for the database's journal, too little for the catalog, and
    # for the adapters where one of them is noisy.
    command = [sys.executable, "-c", _EXPORT, url, str(settings.data_dir), "100000"]
    with open_catalog(sqlite_database, settings) as reader:
        answer = subprocess.run(command, capture_output=True, text=True)
        assert (answer.returncode, answer.stdout[: len(error)]) == (3, error), answer
        assert reader.execute("SELECT count(*) FROM adapters").fetchone() == (5,)
    assert current_link(settings).resolve() == published.path
    assert [path.name for path in (settings.generations_dir / KIND).iterdir()] == [published.name]


_READER = """
import sys, duckdb
connection = duckdb.connect(sys.argv[1], read_only=True)
print("open", flush=True)
for line in sys.stdin:
    print(connection.execute("SELECT count(*), sum(len(name)) FROM adapters").fetchone()[0], flush=True)
"""


def test_readers_in_other_processes_keep_reading_while_the_next_export_runs(
    sqlite_database: Database, settings: Settings, published: Published
) -> None:
    path = str(current_link(settings) / "catalog.duckdb")

    def reader() -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", _READER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(process: subprocess.Popen[str]) -> str:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("\n")
        process.stdin.flush()
        return process.stdout.readline().strip()

    readers = [reader(), reader()]
    try:
        for process in readers:
            assert process.stdout is not None
            assert process.stdout.readline().strip() == "open"
        with sqlite_database.write() as connection:
            connection.execute(delete(Adapter).where(Adapter.pk == 4))

        class AskMeanwhile:
            answers: list[str] = []

            def start(self, total: int | None, unit: str) -> None:
                self.advance()

            def advance(self, amount: int = 1) -> None:
                self.answers.extend(ask(process) for process in readers)

        meanwhile = AskMeanwhile()
        export_marts(sqlite_database, settings, progress=meanwhile)
        assert set(meanwhile.answers) == {"5"}
        assert [ask(process) for process in readers] == ["5", "5"]
        late = reader()
        readers.append(late)
        assert late.stdout is not None
        late.stdout.readline()
        assert ask(late) == "4"
    finally:
        for process in readers:
            process.communicate()


def test_progress_counts_every_mart(filled: Database, settings: Settings) -> None:
    seen: list[int | None] = []

    class Seen:
        def start(self, total: int | None, unit: str) -> None:
            seen.append(total)

        def advance(self, amount: int = 1) -> None:
            seen.append(amount)

    export_marts(filled, settings, progress=Seen())
    assert seen == [len(MARTS), *[1] * len(MARTS)]


def test_facts_are_streamed_in_the_order_of_an_index(sqlite_database: Database) -> None:
    for fact in FACTS:
        if fact.partition_by is not None:
            # Read day by day, each of them sorted.
            continue
        compiled = fact.statement().compile(sqlite_database.engine, compile_kwargs={"literal_binds": True})
        with sqlite_database.read() as connection:
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}").all()
        assert "TEMP B-TREE" not in str(plan), (fact.name, plan)
