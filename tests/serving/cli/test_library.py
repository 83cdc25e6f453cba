"""The commands that ask and change a library, on a small sample that went through the whole pipeline once."""

import contextlib
import csv
import io
import json
import os
import pty
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.serving.cli.conftest import Run, runner
from warehouse.engine import connect
from warehouse.locks import exclusive
from warehouse.vectors import prompt_weights

pytestmark = pytest.mark.xdist_group("cli-library")
ADAPTERS = 24


class Library:
    """A synced sample library and the command line on it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "library"
        self.data = folder / "data"
        self.run: Run = runner(folder)
        made = self.run("sample", str(self.folder), "--adapters", str(ADAPTERS))
        assert made.returncode == 0, made.stderr
        self.first = self.run("sync", str(self.folder), "--json", timeout=300)

    def state(self) -> dict[str, tuple[int, int] | None]:
        """Everything in the folder that commands are run in, the data folder and the library among it; of files their
        size and time, but not of SQLite's shared memory, which readers touch too."""
        return {
            str(path): None if path.is_dir() else (path.stat().st_size, path.stat().st_mtime_ns)
            for path in self.data.parent.rglob("*")
            if not path.name.endswith("-shm")
        }

    def adapters(self) -> list[dict[str, str]]:
        answer = self.run("sql", "SELECT adapter_id, name FROM adapters ORDER BY name", "--format", "json")
        rows: list[dict[str, str]] = json.loads(answer.stdout)
        return rows


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Library:
    return Library(tmp_path_factory.mktemp("cli-library"))


def test_sync_ends_well_although_some_files_are_broken(library: Library) -> None:
    assert library.first.returncode == 0, library.first.stderr
    counts = json.loads(library.first.stdout)
    assert counts["adapters"] >= ADAPTERS
    assert counts["documents"]["quarantined"] > 0
    assert counts["index"]["n"] == counts["adapters"]


def test_a_dry_run_tells_every_change_and_writes_nothing(library: Library) -> None:
    weight = next(library.folder.rglob("*.safetensors"))
    added = weight.with_name("水彩 added by hand.safetensors")
    added.write_bytes(weight.read_bytes())
    before = library.state()
    try:
        shown = library.run("sync", "--dry-run")
        as_json = json.loads(library.run("sync", "--dry-run", "--json").stdout)
        after = library.state()
    finally:
        added.unlink()
    assert shown.returncode == 0, shown.stderr
    header, *rows = [line.split("\t") for line in shown.stdout.splitlines()]
    assert header[:2] == ["change", "kind"]
    assert ["new", "weight", str(added)] in [[row[0], row[1], row[3]] for row in rows]
    assert as_json["counts"] == {"new": 1}
    assert after == before


def test_a_dry_run_without_a_database_makes_none(library: Library, run: Run, tmp_path: Path) -> None:
    shown = run("sync", str(library.folder), "--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert len(shown.stdout.splitlines()) > ADAPTERS
    assert list(tmp_path.iterdir()) == []


def test_status(library: Library) -> None:
    shown = library.run("status")
    assert str(library.folder) in shown.stdout
    state = json.loads(library.run("status", "--json").stdout)
    assert state["running"] is None
    assert sum(state["adapters_by_file_state"].values()) == state["adapters"] >= ADAPTERS
    assert state["embeddings_by_space"] == dict.fromkeys(("artistic", "semantic", "technical"), state["adapters"])
    assert {each["kind"] for each in state["published"]} == {"indices/recommend", "indices/lexical", "marts/analytics"}


@pytest.mark.parametrize("form", ["table", "json", "csv"])
def test_sql_in_every_format(library: Library, form: str) -> None:
    query = "SELECT 1 AS one, NULL AS nothing, '水彩, \"🎨\"' AS text"
    answer = library.run("sql", query, "--format", form)
    assert answer.returncode == 0, answer.stderr
    if form == "json":
        assert json.loads(answer.stdout) == [{"one": 1, "nothing": None, "text": '水彩, "🎨"'}]
    elif form == "csv":
        assert list(csv.reader(io.StringIO(answer.stdout))) == [["one", "nothing", "text"], ["1", "", '水彩, "🎨"']]
    else:
        assert answer.stdout.splitlines() == ["one\tnothing\ttext", '1\t\t水彩, "🎨"']


def test_sql_from_standard_input_and_its_limit(library: Library) -> None:
    answer = library.run("sql", "--limit", "3", stdin="SELECT name FROM adapters")
    assert len(answer.stdout.splitlines()) == 4
    assert "--limit" in answer.stderr


@pytest.mark.parametrize(
    "query",
    [
        "SELEC 1",
        "SELECT * FROM nowhere",
        "DROP TABLE adapters",
        "SELECT 1; SELECT 2",
        "SELECT * FROM '/etc/passwd'",
        " ",
    ],
)
def test_sql_says_what_it_refuses_in_one_line(library: Library, query: str) -> None:
    refused = library.run("sql", query)
    assert refused.returncode in (1, 2)
    assert refused.stdout == ""
    assert refused.stderr.startswith("error: ")
    assert "Traceback" not in refused.stderr


def test_a_session_of_sql_at_a_terminal(library: Library) -> None:
    master, slave = pty.openpty()
    environment = {**os.environ, "LORA_MANAGER_DATA_DIR": str(library.data), "TERM": "dumb"}
    command = [sys.executable, "-m", "serving.cli.main", "sql", "--format", "csv"]
    with subprocess.Popen(command, env=environment, stdin=slave, stdout=slave, stderr=slave, close_fds=True) as process:
        os.close(slave)
        for line in (
            "SELECT 40 + 2",
            "  AS answer;",
            "DROP TABLE adapters;",
            "SELECT chr(155) || 'red';",
            ";",
            "SHOW TABLES;",
            "exit",
        ):
            os.write(master, f"{line}\n".encode())
        shown = b""
        with contextlib.suppress(OSError):  # a terminal whose other end is closed
            while chunk := os.read(master, 65536):
                shown += chunk
        os.close(master)
        code = process.wait(timeout=60)
    text = shown.decode()
    assert code == 0, text
    assert "42" in text
    assert "\N{REPLACEMENT CHARACTER}red" in text
    assert "\x9b" not in text
    assert text.count("error:") == 1, text
    assert "adapters_by_base_model" in text


def test_similar_by_id_by_name_and_by_words(library: Library) -> None:
    first = library.adapters()[0]
    by_id = library.run("similar", first["adapter_id"], "--json", "--limit", "3")
    assert by_id.returncode == 0, by_id.stderr
    items = json.loads(by_id.stdout)["recommendations"]
    assert len(items) == 3
    assert first["adapter_id"] not in {item["lora_id"] for item in items}
    unknown = library.run("similar", "no such adapter anywhere")
    assert unknown.returncode == 1
    assert "no adapter is called" in unknown.stderr


def test_a_name_that_means_several_lists_them(library: Library) -> None:
    names = [row["name"] for row in library.adapters()]
    word = next(word for word in names[0].split() if sum(word in name.split() for name in names) > 1)
    answer = library.run("similar", word)
    assert answer.returncode == 2
    assert len(answer.stdout.splitlines()) > 2
    assert "ask again with an id" in answer.stderr


def test_recommend(library: Library) -> None:
    shown = library.run("recommend", "a portrait <lora:anything:0.8>", "--limit", "2")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.splitlines()[0].split("\t") == ["score", "name", "version", "base model", "why", "id"]
    piped = library.run("recommend", "-", "--json", stdin="a portrait <lora:anything:0.8>")
    answer = json.loads(piped.stdout)
    assert answer["prompt_analysis"]["lora_tags"][0]["name"] == "anything"
    assert library.run("recommend", "  ").returncode == 2


def test_a_second_sync_is_told_to_wait(library: Library) -> None:
    database = connect(f"sqlite:///{library.data / 'warehouse.sqlite3'}")
    with exclusive(database, "ingest"):
        told = library.run("sync")
    database.dispose()
    assert told.returncode == 75
    assert f"process {os.getpid()}" in told.stderr
    assert "Traceback" not in told.stderr


@pytest.mark.slow
def test_an_interrupted_sync_ends_at_once_and_the_next_one_works(library: Library) -> None:
    environment = {**os.environ, "LORA_MANAGER_DATA_DIR": str(library.data)}
    # As a shell starts it in the background: with SIGINT ignored, which must not make it deaf to one sent to it.
    sync = [sys.executable, "-m", "serving.cli.main", "sync", "--force", str(library.folder)]
    command = ["/bin/sh", "-c", 'trap "" INT; exec "$@"', "sh", *sync]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        # The first line of progress: the run has begun.
        assert process.stderr.readline()
        process.send_signal(signal.SIGINT)
        rest = process.stderr.read()
        code = process.wait(timeout=60)
    assert code == 130, rest
    assert "Traceback" not in rest
    again = library.run("sync", timeout=300)
    assert again.returncode == 0, again.stderr


def test_text_that_is_no_utf8_is_answered_all_the_same(library: Library) -> None:
    for arguments in (("recommend", "ink\udcff dragon"), ("sql", "SELECT '\udcff' AS a")):
        answer = library.run(*arguments)
        assert answer.returncode == 0, answer.stderr
    piped = subprocess.run(
        [sys.executable, "-m", "serving.cli.main", "recommend", "-", "--data", str(library.data)],
        input=b"\xef\xbb\xbfink \xff dragon",
        capture_output=True,
        check=False,
    )
    assert piped.returncode == 0, piped.stderr
    missed = library.run("similar", "\udcff")
    assert (missed.returncode, missed.stderr.count("unexpected")) == (1, 0)


def test_no_name_at_all_is_a_mistake_in_the_call(library: Library) -> None:
    for nothing in ("", "   "):
        answer = library.run("similar", nothing)
        assert (answer.returncode, answer.stdout) == (2, "")
        assert "empty" in answer.stderr


def test_a_prompt_is_weighed_as_a_prompt_by_the_command_too(library: Library) -> None:
    (item,) = json.loads(library.run("recommend", "ink dragon", "--limit", "1", "--json").stdout)["recommendations"]
    mean = sum(weight * item[f"{space}_similarity"] for space, weight in prompt_weights().items())
    assert item["similarity_score"] == pytest.approx(mean, abs=1e-6)


def test_evaluating_for_people_and_for_programs(library: Library) -> None:
    shown = library.run("evaluate", "--queries", "20", "--part", "all")
    assert shown.returncode == 0, shown.stderr
    header, *rows = [line.split("\t") for line in shown.stdout.splitlines()]
    assert header == ["way to answer", "prompt", "recall@1", "recall@10", "MRR", "nDCG@10"]
    assert ["as recommended", "as written"] in [row[:2] for row in rows]
    report = json.loads(library.run("evaluate", "--queries", "20", "--part", "all", "--json").stdout)
    served = report["figures"]["as recommended"]["as written"]
    assert (report["queries"], served["queries"]) == (20, 20)
    assert rows[0][3].startswith(f"{served['recall_at_10']['value']:.3f} ")


def test_learning_prints_a_weight_for_each_field(library: Library) -> None:
    learned = json.loads(library.run("evaluate", "--learn", "--queries", "20", "--json").stdout)
    assert set(learned["weights"]) == {"name", "phrases", "described", "words", "pairs", "fragments"}


def test_only_a_part_that_there_is_can_be_evaluated(library: Library) -> None:
    refused = library.run("evaluate", "--part", "none")
    assert refused.returncode == 2
    assert "none of measured, learned, all" in refused.stderr
