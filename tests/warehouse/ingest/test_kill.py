"""A stage killed with SIGKILL anywhere, and run again, ends where an undisturbed sync does: row by row."""

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests import programs
from tests.databases import migrated_sqlite
from tests.warehouse.ingest.library import Library, model, version, weights
from warehouse.engine import connect
from warehouse.samples import generate_library
from warehouse.settings import Settings

# Numbers, ids and times differ between any two runs; everything else must not.
SNAPSHOT = {
    "roots": "SELECT path FROM roots",
    "bundles": "SELECT directory, stem, preview_path, producer, built_revision = revision AS is_built FROM bundles",
    "files": "SELECT path, size, mtime_ns, inode, state, hashed_size, hashed_mtime_ns, sha256, payload_sha256, blake3, "
    "crc32, autov1, b.stem FROM files f JOIN bundles b ON b.pk = f.bundle_pk",
    "documents": "SELECT path, size, mtime_ns, state, read_size, read_mtime_ns, d.producer, digest, shape, verdict, "
    "reason_code, reason, complaints, b.stem, c.raw FROM documents d JOIN bundles b ON b.pk = d.bundle_pk "
    "LEFT JOIN document_contents c ON c.document_pk = d.pk",
    "details": "SELECT a.source_key, provenance, description_text, notes, examples FROM adapter_details d "
    "JOIN adapters a ON a.pk = d.adapter_pk",
    "tags": "SELECT a.source_key, tag FROM adapter_tags t JOIN adapters a ON a.pk = t.adapter_pk",
    "search": "SELECT a.source_key, s.name, s.triggers, s.tags, s.body FROM adapter_search s "
    "JOIN adapters a ON a.pk = s.adapter_pk",
    "inspections": "SELECT f.path, i.size, i.mtime_ns, i.valid, i.problem, i.message, i.network_type, i.rank, i.alpha, "
    "i.base_model, i.facts FROM inspections i JOIN files f ON f.pk = i.file_pk",
    "findings": "SELECT origin, code, severity, path, message, data FROM findings",
    "claims": "SELECT c.value, c.kind, b.directory, b.stem FROM hash_claims c JOIN bundles b ON b.pk = c.bundle_pk",
    "duplicates": "SELECT d.kind, d.group_key, a.source_key FROM duplicates d JOIN adapters a ON a.pk = d.adapter_pk",
    "facets": "SELECT facet, value, count FROM facet_counts WHERE count <> 0",
}
VARYING = {"pk", "id", "bundle_pk", "file_pk", "created_at", "updated_at", "last_ingested_at", "derived_digest"}


def snapshot(library: Library) -> dict[str, list[str]]:
    state = {name: sorted(repr(tuple(row)) for row in library.query(statement)) for name, statement in SNAPSHOT.items()}
    state["adapters"] = sorted(
        repr([(name, value) for name, value in row._mapping.items() if name not in VARYING])
        for row in library.adapters()
    )
    return state


def _fill(root: Path) -> None:
    generate_library(root, adapters=24, seed=3)
    for number in range(3):
        folder = root / f"more-{number}"
        folder.mkdir()
        (folder / "same.safetensors").write_bytes(weights(200 + number))
        document = model(900 + number, version(9000 + number), version(9100, name="shared"), name="Clash")
        (folder / "model.json").write_text(json.dumps(document))


def _child(library: Library, *victim: str) -> subprocess.CompletedProcess[str]:
    url = library.database.engine.url.render_as_string(hide_password=False)
    arguments = (str(library.settings.data_dir), url, str(library.root), *victim)
    return programs.run(
        "tests.warehouse.ingest.killed", *arguments, folder=programs.ROOT, environment=os.environ, timeout=120
    )


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[str]], dict[str, int]]:
    """A library, the state an undisturbed sync gives, and the number of statements of each stage."""
    folder = tmp_path_factory.mktemp("undisturbed")
    _fill(folder / "library")
    settings = Settings(_env_file=None, data_dir=folder / "data")
    states = []
    for name in ("whole", "chunks"):
        database = connect(f"sqlite:///{migrated_sqlite(folder / f'{name}.sqlite3')}")
        library = Library(folder / "library", database, settings)
        if name == "whole":
            library.sync()
            counts = {}
        else:
            done = _child(library)
            assert done.returncode == 0, done.stderr
            counts = json.loads(done.stdout)
        states.append(snapshot(library))
        database.dispose()
    assert states[0] == states[1], "the size of chunks must not matter"
    return folder / "library", states[0], counts


@pytest.mark.parametrize("at", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("stage", ["files", "documents", "adapters", "inspections"])
def test_killed_and_run_again(
    undisturbed: tuple[Path, dict[str, list[str]], dict[str, int]],
    any_library: Library,
    stage: str,
    at: float,
    request: pytest.FixtureRequest,
) -> None:
    if "postgresql" in request.node.callspec.id and at != 0.5:
        pytest.skip("one kill per stage is enough for the second dialect")
    root, expected, counts = undisturbed
    library = Library(root, any_library.database, any_library.settings)
    died = _child(library, stage, str(int(counts[stage] * at)))
    assert died.returncode == -signal.SIGKILL, died.stderr
    library.sync()
    found: dict[str, Any] = snapshot(library)
    if library.database.is_sqlite:
        # The difference alone: of whole tables pytest shows the first hundred characters.
        for name, rows in expected.items():
            assert (name, sorted(set(found[name]) ^ set(rows))) == (name, [])
        assert found == expected
    else:
        assert {name: len(rows) for name, rows in found.items()} == {name: len(rows) for name, rows in expected.items()}
    assert library.sync()["adapters"].changed == 0


def test_a_full_disk_is_said_and_loses_nothing(
    undisturbed: tuple[Path, dict[str, list[str]], dict[str, int]], library: Library
) -> None:
    root, expected, _ = undisturbed
    library = Library(root, library.database, library.settings)
    size = Path(library.database.engine.url.database or "").stat().st_size
    failed = _child(library, "disk", str(size + 100_000))
    assert failed.returncode == 1
    assert "StorageError: the database" in failed.stderr
    assert "Free disk space" in failed.stderr
    library.sync()
    assert snapshot(library) == expected
