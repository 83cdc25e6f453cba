"""A backup and its restoration: everything comes back, and nothing is touched by one that is not whole."""

import io
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import insert, select, text, update

from tests import programs
from tests.databases import scratch_postgresql
from tests.warehouse.queries.library import adapter_values, insert_adapters
from tests.warehouse.transfer.filling import fill, present_shapes
from tests.warehouse.transfer.test_copying import digests
from warehouse import migrations
from warehouse.backup import BackupError
from warehouse.backup.archive import ArchiveWriter, Head, check, head_of
from warehouse.backup.making import make_backup
from warehouse.backup.restoring import Remains, remains, restore_backup
from warehouse.backup.retention import backups, prune_backups
from warehouse.engine import Database, connect
from warehouse.generations import current, publish
from warehouse.models import Adapter, Generation, Pointer, Root, utc_now
from warehouse.pictures import PictureStore
from warehouse.settings import Settings
from warehouse.transfer.digests import digest_of
from warehouse.transfer.reading import read_rows, snapshot
from warehouse.transfer.shapes import shapes
from warehouse.vectors.encoders.weights import TUNED

PUBLISHED = {"pointers", "generations"}
"""What a restoration forgets, since the published files are not there."""


@dataclass
class System:
    """A data folder with its database."""

    settings: Settings
    database: Database

    def files(self) -> dict[str, bytes]:
        """Every file that a backup has to hold, by its path."""
        derived = {"generations", "analytics", "models", "logs", "run", "dagster"}
        return {
            path.relative_to(self.settings.data_dir).as_posix(): path.read_bytes()
            for path in sorted(self.settings.data_dir.rglob("*"))
            if path.is_file()
            and "warehouse.sqlite3" not in path.name
            and path.relative_to(self.settings.data_dir).parts[0] not in derived
        }


Make = Callable[[str, str], System]


@pytest.fixture
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Makes systems in a folder of a name, with a database without a table."""
    made: list[Database] = []

    def system(name: str, dialect: str) -> System:
        url = "" if dialect == "sqlite" else scratch_postgresql(request.getfixturevalue("postgresql_server"))
        settings = Settings(_env_file=None, data_dir=tmp_path / name, database_url=url)
        made.append(connect(settings.url))
        # A folder that only the connection made is none that anybody used.
        (tmp_path / name).rmdir() if dialect == "sqlite" else None
        return System(settings, made[-1])

    yield system
    for database in made:
        database.dispose()


@pytest.fixture
def filled(make: Make, request: pytest.FixtureRequest) -> Callable[[str], System]:
    """Makes a system with rows in every table and every kind of file."""

    def system(dialect: str) -> System:
        made = make("data", dialect)
        folder = made.settings.data_dir
        folder.mkdir()
        migrations.upgrade(made.database)
        fill(made.database)
        for name in ("serving.secret", "api-keys", "pictures/ab/abc.png", "attachments/cd/cde", "own/note ä\n.txt"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(name.encode() * 9)
        (folder / "pictures" / "ab" / "large.png").write_bytes(random.Random(1).randbytes(400_000))
        for name in ("generations/x/y", "logs/api.log", "run/pipeline.json", "dagster/storage/runs.db", "models/m"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(b"derived")
        (folder / "pictures" / "ab" / ".abd.png.0123").write_bytes(b"half written")
        (folder / "own" / "link").symlink_to("/etc/passwd")
        return made

    return system


def kept(system: System) -> dict[str, bytes]:
    return {
        name: data
        for name, data in system.files().items()
        if not name.endswith(".0123") and name != "own/link" and not name.startswith("before-restore-")
    }


@pytest.mark.parametrize("to", ["sqlite", "postgresql"])
@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_everything_comes_back(dialect: str, to: str, filled: Callable[[str], System], make: Make) -> None:
    system = filled(dialect)
    before, files = digests(system.database), kept(system)
    file = system.settings.data_dir.parent / "backup.tar"
    made = make_backup(system.database, system.settings, file)
    assert (made.path, made.rows, made.files) == (file, sum(rows for rows, _ in before.values()), 6)
    assert file.stat().st_mode & 0o077 == 0
    other = make("other", to)
    restored = restore_backup(other.settings, file)
    assert restored.aside == ()
    other.database.dispose()
    after = digests(other.database)
    assert {name for name in before if before[name] != after[name]} == PUBLISHED
    assert kept(other) == files
    assert sorted(path.name for path in other.settings.data_dir.iterdir() if path.name.startswith(".")) == []
    migrations.require_head(other.database)
    with other.database.read() as connection:
        assert connection.execute(select(Pointer)).all() == []
        assert None not in connection.execute(select(Generation.collected_at)).scalars().all()
    # And numbers go on.
    with other.database.write() as connection:
        root = {"path": "/another", "created_at": utc_now()}
        assert connection.execute(insert(Root).values(root).returning(Root.pk)).scalar_one() == 13


def test_a_writer_is_not_waited_for_and_not_half_seen(make: Make, database: Database, tmp_path: Path) -> None:
    """Between two tables somebody writes to both: the backup has neither change."""
    settings = Settings(_env_file=None, data_dir=tmp_path / "data")
    pks = insert_adapters(database, [adapter_values(number) for number in range(3)])
    written = []

    def write(what: str) -> None:
        with database.write() as connection:
            connection.execute(update(Adapter).where(Adapter.pk == pks[0]).values(user_notes=f"while {what}"))
            connection.execute(insert(Root).values(path=f"/{what}-{len(written)}", created_at=utc_now()))
        written.append(what)

    make_backup(database, settings, tmp_path / "b.tar", say=write)
    assert len(written) == len(shapes()) + 2
    other = make("other", "sqlite")
    restore_backup(other.settings, tmp_path / "b.tar")
    with other.database.read() as connection:
        assert connection.execute(select(Root)).all() == []
        assert set(connection.execute(select(Adapter.user_notes)).scalars()) == {None}


def test_pictures_of_rows_that_were_read_are_there(make: Make, sqlite_database: Database, tmp_path: Path) -> None:
    """A picture is kept between the rows and the files: too many files are no harm, too few would be."""
    settings = Settings(_env_file=None, data_dir=tmp_path / "data")
    png = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x02\x00\x00\x00"

    def write(what: str) -> None:
        if what == "files":
            PictureStore(settings.pictures_dir).put(png)

    assert make_backup(sqlite_database, settings, tmp_path / "b.tar", say=write).files == 1


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_what_is_there_is_refused_or_kept_aside(dialect: str, filled: Callable[[str], System]) -> None:
    system = filled(dialect)
    before, files = digests(system.database), kept(system)
    file = make_backup(system.database, system.settings, system.settings.data_dir.parent / "b.tar").path
    with system.database.write() as connection:
        connection.execute(update(Adapter).values(user_notes="later"))
    (system.settings.data_dir / "api-keys").write_text("later")
    changed = digests(system.database)
    with pytest.raises(BackupError, match=r"not empty.*--replace"):
        restore_backup(system.settings, file)
    assert (digests(system.database), kept(system)["api-keys"]) == (changed, b"later")
    system.database.dispose()
    restored = restore_backup(system.settings, file, replace=True)
    after = digests(system.database)
    assert {name for name in before if before[name] != after[name]} == PUBLISHED
    assert kept(system) == files
    aside = Path(restored.aside[-1])
    assert (aside / "api-keys").read_text() == "later"
    if dialect == "sqlite":
        old = connect(f"sqlite:///{aside / 'warehouse.sqlite3'}")
        assert digests(old) == changed
        old.dispose()
        return
    with system.database.read() as connection:
        schema = restored.aside[0].removeprefix("the schema ")
        notes = connection.execute(text(f'SELECT DISTINCT user_notes FROM "{schema}".adapters')).scalars().all()
    assert notes == ["later"]


@pytest.mark.parametrize("at", [0, 100])
def test_a_damaged_database_is_replaced_and_kept_aside(at: int, filled: Callable[[str], System]) -> None:
    system = filled("sqlite")
    before = digests(system.database)
    file = make_backup(system.database, system.settings, system.settings.data_dir.parent / "b.tar").path
    system.database.dispose()
    database = system.settings.data_dir / "warehouse.sqlite3"
    damaged = bytearray(database.read_bytes())
    damaged[at : at + 32_768] = b"damaged " * 4096
    # Another file, without a log: what this process still has open of the first one is not asked.
    for end in ("", "-wal", "-shm"):
        database.with_name(f"{database.name}{end}").unlink(missing_ok=True)
    database.write_bytes(damaged)
    with pytest.raises(BackupError, match=r"warehouse.sqlite3, which is damaged.*--replace"):
        restore_backup(system.settings, file)
    restored = restore_backup(system.settings, file, replace=True)
    after = digests(system.database)
    assert {name for name in before if before[name] != after[name]} == PUBLISHED
    assert (Path(restored.aside[0]) / "warehouse.sqlite3").read_bytes() == damaged


def test_one_restoration_at_a_time(filled: Callable[[str], System]) -> None:
    system = filled("sqlite")
    before = digests(system.database)
    file = make_backup(system.database, system.settings, system.settings.data_dir.parent / "b.tar").path
    refused: list[str] = []

    def second() -> None:
        with pytest.raises(BackupError, match="another restoration works on") as caught:
            restore_backup(system.settings, file, replace=True)
        refused.append(str(caught.value))

    def say(what: str) -> None:
        if what == "restoring the files":
            second()

    system.database.dispose()
    restore_backup(system.settings, file, replace=True, say=say)
    assert len(refused) == 1
    after = digests(system.database)
    assert {name for name in before if before[name] != after[name]} == PUBLISHED


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_one_that_is_not_whole_touches_nothing(dialect: str, filled: Callable[[str], System], make: Make) -> None:
    system = filled("sqlite")
    folder = system.settings.data_dir.parent
    whole = make_backup(system.database, system.settings, folder / "b.tar").path.read_bytes()
    other = make("other", dialect)
    bad = folder / "bad.tar"
    with tarfile.open(folder / "b.tar") as tar:
        places = [(info.name, info.offset_data + info.size // 2) for info in tar]
    # Behind its last member nothing is in a tar file but padding.
    end = places[-1][1]
    for length in (0, 100, 512, 600, 2_000, *range(5_000, end, end // 12), end):
        bad.write_bytes(whole[:length])
        with pytest.raises(BackupError, match=r"bad\.tar (is|was|holds)"):
            restore_backup(other.settings, bad)
    for _, place in places:
        bad.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(BackupError, match=r"bad\.tar (is|was|holds)"):
            restore_backup(other.settings, bad)
    assert not other.settings.data_dir.exists()
    if dialect == "postgresql":
        assert migrations.revision_of(other.database) is None


def test_whatever_was_changed_is_refused_in_words(filled: Callable[[str], System], tmp_path: Path) -> None:
    """Bytes at random places, half of them in the headers of the archive: refused, or of no consequence."""
    system = filled("sqlite")
    shutil.rmtree(system.settings.data_dir / "pictures")
    file = make_backup(system.database, system.settings, tmp_path / "b.tar").path
    whole, manifest = file.read_bytes(), check(file).manifest
    with tarfile.open(file) as tar:
        headers = [info.offset for info in tar]
    source, bad, refused = random.Random(0), tmp_path / "bad.tar", 0
    for _ in range(400):
        changed = bytearray(whole)
        for _ in range(source.choice((1, 2, 8))):
            place = source.choice(headers) + source.randrange(512) if source.random() < 0.5 else None
            changed[source.randrange(len(whole)) if place is None else place] = source.randrange(256)
        bad.write_bytes(changed)
        try:
            assert check(bad).manifest == manifest
        except BackupError:
            refused += 1
    assert refused > 300


def _with(file: Path, name: str, change: Callable[[bytes], bytes], to: Path) -> Path:
    """The archive with another content of a member, and without a seal over it."""
    with tarfile.open(file) as old, tarfile.open(to, "w") as new:
        for info in old:
            data = old.extractfile(info).read()  # type: ignore[union-attr]
            if info.name == name:
                data = change(data)
                info.size = len(data)
            new.addfile(info, io.BytesIO(data))
    return to


def test_one_of_a_later_version_is_refused(filled: Callable[[str], System], make: Make, tmp_path: Path) -> None:
    system = filled("sqlite")
    file = make_backup(system.database, system.settings, tmp_path / "b.tar").path

    def later(data: bytes) -> bytes:
        return json.dumps({**json.loads(data), "format": 99, "version": "9.0.0"}).encode()

    with pytest.raises(BackupError, match=r"version 9\.0\.0 in a later format"):
        restore_backup(make("other", "sqlite").settings, _with(file, "backup.json", later, tmp_path / "later.tar"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("warehouse.backup.making.migrations.head", lambda: "9999")
        patch.setattr("warehouse.backup.making.migrations.require_head", lambda _: None)
        file = make_backup(system.database, system.settings, tmp_path / "newer.tar").path
    with pytest.raises(BackupError, match="schema 9999, which this version does not know"):
        restore_backup(make("other2", "sqlite").settings, file)


@pytest.mark.parametrize("revision", ["0004", "0007"])
@pytest.mark.parametrize("to", ["sqlite", "postgresql"])
def test_one_of_an_earlier_version_is_migrated(to: str, revision: str, make: Make, tmp_path: Path) -> None:
    old = make("old", "sqlite")
    old.settings.data_dir.mkdir()
    migrations.upgrade(old.database, revision)
    fill(old.database)
    had = present_shapes(old.database)
    assert had != shapes()
    with (tmp_path / "b.tar").open("wb") as stream, snapshot(old.database) as connection:
        writer = ArchiveWriter(stream, Head("0.0.1", revision, "sqlite", utc_now().isoformat(), had))
        for position, shape in enumerate(had):
            writer.add_table(position, shape, read_rows(connection, shape))
        writer.close()
        before = {shape.name: digest_of(connection, shape).hexadecimal for shape in had}
    other = make("other", to)
    restored = restore_backup(other.settings, tmp_path / "b.tar")
    assert restored.from_revision == revision
    migrations.require_head(other.database)
    with other.database.read() as connection:
        after = {shape.name: digest_of(connection, shape).hexadecimal for shape in had}
    assert {name for name in before if before[name] != after[name]} == PUBLISHED


def test_a_path_out_of_the_folder_is_refused(filled: Callable[[str], System], tmp_path: Path) -> None:
    system = filled("sqlite")
    file = make_backup(system.database, system.settings, tmp_path / "b.tar").path
    bad = tmp_path / "bad.tar"
    with tarfile.open(file) as old, tarfile.open(bad, "w") as new:
        for info in old:
            content = old.extractfile(info)
            if info.name == "files/api-keys":
                info.name = "files/../../escaped"
            new.addfile(info, content)
    with pytest.raises(BackupError, match=r"the path '\.\./\.\./escaped'"):
        check(bad)


@pytest.mark.parametrize("room", [50_000, 300_000])
def test_a_full_disk_is_said_and_nothing_is_left(filled: Callable[[str], System], room: int, tmp_path: Path) -> None:
    system = filled("sqlite")
    before = digests(system.database)
    system.database.dispose()
    arguments = (str(system.settings.data_dir), str(tmp_path / "backups" / "b.tar"), str(room))
    failed = programs.run(
        "tests.warehouse.backup.full_disk", "backup", *arguments, folder=programs.ROOT, environment=os.environ
    )
    assert failed.returncode == 1, failed.stderr
    assert "was not written: File too large. Nothing of it is left" in failed.stderr
    assert list((tmp_path / "backups").iterdir()) == []
    assert digests(system.database) == before


@pytest.mark.parametrize("room", [100_000, 450_000])
def test_a_full_disk_leaves_nothing_half_restored(filled: Callable[[str], System], room: int, tmp_path: Path) -> None:
    system = filled("sqlite")
    before, files = digests(system.database), kept(system)
    file = make_backup(system.database, system.settings, tmp_path / "b.tar").path
    system.database.dispose()
    failed = programs.run(
        "tests.warehouse.backup.full_disk",
        *("restore", str(system.settings.data_dir), str(file), str(room)),
        folder=programs.ROOT,
        environment=os.environ,
    )
    assert failed.returncode == 1, failed.stderr
    assert "was not restored: " in failed.stderr
    assert "What was there before is as it was" in failed.stderr
    assert (digests(system.database), kept(system)) == (before, files)
    assert [path.name for path in system.settings.data_dir.iterdir() if path.name.startswith((".", "before"))] == []


@pytest.mark.failure
@pytest.mark.parametrize("at", ["restoring the files", "restoring adapters", "comparing with the backup"])
@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_a_restoration_that_is_killed_has_changed_nothing_and_is_done_again(
    dialect: str, at: str, filled: Callable[[str], System], tmp_path: Path
) -> None:
    system = filled(dialect)
    file = make_backup(system.database, system.settings, tmp_path / "b.tar").path
    with system.database.write() as connection:
        connection.execute(update(Adapter).values(user_notes="later"))
    before, files = digests(system.database), kept(system)
    system.database.dispose()
    died = programs.run(
        "tests.warehouse.backup.killed",
        *(str(system.settings.data_dir), system.settings.database_url, str(file), at),
        folder=programs.ROOT,
        environment=os.environ,
    )
    assert died.returncode == -signal.SIGKILL, died.stderr
    assert digests(system.database) == before
    assert {name: data for name, data in kept(system).items() if not name.startswith(".restoring-")} == files
    system.database.dispose()
    restore_backup(system.settings, file, replace=True)
    with system.database.read() as connection:
        assert "later" not in connection.execute(select(Adapter.user_notes)).scalars().all()
    assert [path.name for path in system.settings.data_dir.iterdir() if path.name.startswith(".")] == []


def test_old_backups_go_and_nothing_else(sqlite_database: Database, tmp_path: Path) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path / "data")
    folder = tmp_path / "backups"
    folder.mkdir()
    first = make_backup(sqlite_database, settings, folder / "lora-manager-20260101T000000Z.tar").path
    names = [f"lora-manager-202601{day:02d}T000000Z.tar" for day in range(2, 6)]
    for name in names:
        shutil.copy(first, folder / name)
    strangers = ["lora-manager-20250101T000000Z.tar", "other.tar", "lora-manager-20250101T000000Z.tar.old"]
    for name in strangers:
        (folder / name).write_bytes(b"not ours")
    (folder / "lora-manager-20240101T000000Z.tar").symlink_to(first)
    abandoned, young = (folder / f".lora-manager-20260101T000000Z.tar.{pid}" for pid in (1, 2))
    for path in (abandoned, young):
        path.write_bytes(b"half")
    os.utime(abandoned, (0, 0))
    assert [path.name for path in prune_backups(folder, 2)] == [first.name, *names[:2], abandoned.name]
    young.unlink()
    assert [path.name for path in backups(folder)] == names[2:]
    assert {path.name for path in folder.iterdir()} == {
        *names[2:],
        *strangers,
        "lora-manager-20240101T000000Z.tar",
    }


def test_a_folder_gives_a_name_and_a_file_is_not_overwritten(sqlite_database: Database, tmp_path: Path) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path / "data", backup_dir=tmp_path / "data" / "backups")
    assert settings.backup_dir is not None
    settings.backup_dir.mkdir(parents=True)
    made = make_backup(sqlite_database, settings, settings.backup_dir)
    assert backups(settings.backup_dir) == [made.path]
    with pytest.raises(BackupError, match="is there already"):
        make_backup(sqlite_database, settings, made.path)
    # A backup holds no backups.
    assert make_backup(sqlite_database, settings, tmp_path / "data" / "second.tar").files == 0


def test_of_two_that_get_one_name_at_once_the_first_stays(sqlite_database: Database, tmp_path: Path) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path / "data")

    def overtake(what: str) -> None:
        if what == "reading it again":
            (tmp_path / "b.tar").write_bytes(b"another one")

    with pytest.raises(BackupError, match="is there already"):
        make_backup(sqlite_database, settings, tmp_path / "b.tar", say=overtake)
    assert (tmp_path / "b.tar").read_bytes() == b"another one"
    assert [path.name for path in tmp_path.glob("*b.tar*")] == ["b.tar"]


def test_of_dagster_the_configuration_is_kept_and_the_history_if_wanted(
    sqlite_database: Database, make: Make, tmp_path: Path
) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path / "data")
    storage = settings.dagster_home / "storage"
    storage.mkdir(parents=True)
    (settings.dagster_home / "dagster.yaml").write_text("telemetry: {enabled: false}")
    runs = sqlite3.connect(storage / "runs.db")
    runs.execute("PRAGMA journal_mode=WAL")
    runs.execute("CREATE TABLE runs (id)")
    runs.execute("INSERT INTO runs VALUES (7)")
    # It is in the log of a database that is open, as those of a running system are.
    runs.commit()
    for number, wanted in enumerate((False, True)):
        file = tmp_path / f"{number}.tar"
        make_backup(sqlite_database, settings, file, with_dagster=wanted)
        other = make(f"other-{number}", "sqlite").settings
        restore_backup(other, file)
        assert (other.dagster_home / "dagster.yaml").read_text() == "telemetry: {enabled: false}"
        assert (other.dagster_home / "storage").exists() == wanted
    copied = sqlite3.connect(other.dagster_home / "storage" / "runs.db")
    assert copied.execute("SELECT id FROM runs").fetchall() == [(7,)]
    runs.close()
    copied.close()


def test_libraries_in_the_data_folder_are_not_backed_up(sqlite_database: Database, tmp_path: Path) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path / "data")
    for name in ("loras", "sample-library"):
        (settings.data_dir / name).mkdir(parents=True)
        (settings.data_dir / name / "a.safetensors").write_bytes(b"x")
        with sqlite_database.write() as connection:
            connection.execute(insert(Root).values(path=str(settings.data_dir / name), created_at=utc_now()))
    made = make_backup(sqlite_database, settings, tmp_path / "b.tar")
    files = [name for name in check(made.path).manifest.members if name.startswith("files/")]
    assert files == ["files/sample-library/a.safetensors"]


def test_a_backup_in_the_data_folder_is_in_no_other(sqlite_database: Database, tmp_path: Path) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path / "data")
    first = make_backup(sqlite_database, settings, settings.data_dir / "own" / "before").path
    shutil.copy(first, settings.data_dir / "copied.tar")
    second = make_backup(sqlite_database, settings, settings.data_dir / "after.tar")
    assert [name for name in check(second.path).manifest.members if name.startswith("files/")] == []


def test_a_folder_that_cannot_be_listed_is_not_left_out(sqlite_database: Database, tmp_path: Path) -> None:
    settings = Settings(_env_file=None, data_dir=tmp_path / "data")
    top = settings.data_dir / "pictures"
    top.mkdir(parents=True)
    # Deeper than a path may be long, which also stops those that no permission does.
    here = os.open(top, os.O_RDONLY)
    for _ in range(20):
        os.mkdir("x" * 250, dir_fd=here)
        inner = os.open("x" * 250, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = inner
    os.close(here)
    with pytest.raises(BackupError, match=r"not written: File name too long: .*pictures/xxx.*Nothing of it is left"):
        make_backup(sqlite_database, settings, tmp_path / "b.tar")
    assert not list(tmp_path.glob("*.tar*"))


def test_a_tuned_encoder_comes_back_and_stays_in_use(make: Make) -> None:
    system = make("data", "sqlite")
    system.settings.data_dir.mkdir()
    migrations.upgrade(system.database)

    def build(folder: Path) -> dict[str, object]:
        (folder / "model").mkdir()
        (folder / "model" / "model.safetensors").write_bytes(b"weights")
        return {}

    old, new = (publish(system.database, system.settings, TUNED, build) for _ in range(2))
    publish(system.database, system.settings, "indices/recommend", build)
    made = make_backup(system.database, system.settings, system.settings.data_dir.parent / "b.tar")
    other = make("other", "sqlite")
    restore_backup(other.settings, made.path)
    found = current(other.database, other.settings, TUNED)
    assert found is not None
    assert found.name == new.name
    assert (found.path / "model" / "model.safetensors").read_bytes() == b"weights"
    assert not (found.path.parent / old.name).exists()
    assert current(other.database, other.settings, "indices/recommend") is None


def test_a_backup_says_what_it_is(sqlite_database: Database, tmp_path: Path) -> None:
    made = make_backup(sqlite_database, Settings(_env_file=None, data_dir=tmp_path / "data"), tmp_path / "b.tar")
    head = head_of(made.path)
    assert (head.revision, head.dialect, head.shapes) == (migrations.head(), "sqlite", shapes())
    # With nothing but tar.
    listed = subprocess.run(["tar", "tf", made.path], capture_output=True, text=True, check=True)
    assert listed.stdout.splitlines()[0] == "backup.json"


@pytest.mark.parametrize("url", ["postgresql://ann@localhost/names", None])
def test_what_a_killed_restoration_left_is_known(tmp_path: Path, url: str | None) -> None:
    data, elsewhere = tmp_path / "data", tmp_path / "elsewhere"
    data.mkdir()
    elsewhere.mkdir()
    database = elsewhere / "warehouse.sqlite3"
    settings = Settings(_env_file=None, data_dir=data, database_url=url or f"sqlite:///{database}")  # type: ignore[call-arg]
    assert remains(settings) == Remains((), (), is_torn=False)
    staging = data / ".restoring-20260102T000000Z"
    staging.mkdir()
    database.touch()
    assert remains(settings) == Remains((), (staging,), is_torn=False)
    earlier = data / "before-restore-20260101T000000Z"
    earlier.mkdir()
    assert remains(settings) == Remains((earlier,), (staging,), is_torn=False)
    # What was there has been moved away …
    aside = data / "before-restore-20260102T000000Z"
    aside.mkdir()
    if url is None:
        moved = database.rename(elsewhere / "before-restore-20260102T000000Z-warehouse.sqlite3")
        assert remains(settings) == Remains((earlier, aside, moved), (staging,), is_torn=True)
        # … and the database, the last, has come.
        database.touch()
        assert remains(settings) == Remains((earlier, aside, moved), (staging,), is_torn=False)
    else:
        assert remains(settings) == Remains((earlier, aside), (staging,), is_torn=True)
        staging.rmdir()
        assert remains(settings) == Remains((earlier, aside), (), is_torn=False)
