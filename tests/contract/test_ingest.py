"""What an ingest leaves alone and what it takes up, as a client sees it afterwards."""

import json
from pathlib import Path
from typing import Any

from tests.contract.conftest import World
from tests.contract.service import Service
from tests.warehouse.ingest.library import model, version


def document_of(service: Service, path: Path, name: str, **more: Any) -> Path:
    """A Civitai document beside a weight file."""
    number = abs(hash(name)) % 10**9
    document = model(number, version(number, file=path.name, trainedWords=["a, b", "c"]), name=name, **more)
    sidecar = service.path(path.with_suffix(".json").name)
    sidecar.write_text(json.dumps(document), encoding="utf-8")
    return sidecar


def with_path(service: Service, path: Path) -> list[dict[str, Any]]:
    """The adapters whose file this is."""
    items = service.get("/adapters", sort="-created_at", limit=500)["items"]
    return [item for item in items if item["file_path"] == str(path)]


def test_user_state_survives_every_resync(service: Service, world: World) -> None:
    """User state (active, ordinal, weight set by hand, own tags and notes) survives every resync."""
    path = service.weight_file()
    sidecar = document_of(service, path, service.name("Synced"))
    world.sync()
    (adapter,) = with_path(service, path)
    mine = {"active": True, "ordinal": 3, "weight": 0.4, "name": service.name("Mine")}
    service.patch(adapter["id"], **mine)
    sidecar.write_text(sidecar.read_text().replace("<p>text</p>", "<p>other text</p>"))
    world.sync()
    after = service.adapter(adapter["id"])
    assert {name: after[name] for name in mine} == mine
    assert "other text" in after["description"]


def test_a_deleted_adapter_stays_deleted_until_its_files_change(service: Service, world: World) -> None:
    """A later resync does not bring it back unless its files changed (the tombstone is by path and document, never
    by content)."""
    path = service.weight_file()
    sidecar = document_of(service, path, service.name("Deleted"))
    world.sync()
    (adapter,) = with_path(service, path)
    service.ask("DELETE", f"/adapters/{adapter['id']}", 204)
    world.sync()
    assert with_path(service, path) == []
    copy = service.path()
    copy.write_bytes(path.read_bytes())
    world.sync()
    assert len(with_path(service, copy)) == 1
    assert with_path(service, path) == []
    sidecar.write_text(sidecar.read_text().replace("<p>text</p>", "<p>changed</p>"))
    world.sync()
    assert len(with_path(service, path)) == 1


def test_a_registered_file_is_reused(service: Service, world: World) -> None:
    """A registered `file_path` is reused by a later sync, not doubled."""
    adapter = service.create(version="v1", description="By hand.")
    world.sync()
    (after,) = with_path(service, Path(adapter["file_path"]))
    assert (after["id"], after["name"], after["description"]) == (adapter["id"], adapter["name"], "By hand.")
    assert after["file_state"] == "present"


def test_identical_bytes_are_several_files(service: Service, world: World) -> None:
    """Identical bytes at several existing paths are several files, each with its adapter"""
    path = service.weight_file()
    copy = service.path()
    copy.write_bytes(path.read_bytes())
    world.sync()
    assert len(with_path(service, path)) == len(with_path(service, copy)) == 1


def test_a_move_keeps_the_adapter(service: Service, world: World) -> None:
    """it is a move only when the old path is gone."""
    path = service.weight_file()
    world.sync()
    (adapter,) = with_path(service, path)
    service.post(f"/adapters/{adapter['id']}/activate", {"ordinal": 2})
    target = service.path("moved/there.safetensors")
    path.rename(target)
    world.sync()
    (moved,) = with_path(service, target)
    assert (moved["id"], moved["active"], moved["ordinal"]) == (adapter["id"], True, 2)
    assert with_path(service, path) == []
    service.post(f"/adapters/{adapter['id']}/deactivate")


def test_a_vanished_file_is_a_state(service: Service, world: World) -> None:
    """a vanished file is a state (`missing`), not a deletion."""
    path = service.weight_file()
    world.sync()
    (adapter,) = with_path(service, path)
    content = path.read_bytes()
    path.unlink()
    world.sync()
    assert service.adapter(adapter["id"])["file_state"] == "missing"
    path.write_bytes(content)
    world.sync()
    assert service.adapter(adapter["id"])["file_state"] == "present"


def test_a_registered_file_that_vanishes_is_missing(service: Service, world: World) -> None:
    """a vanished file is a state (`missing`)", also where no sync has seen it between a client's registering it and
    its end"""
    adapter = service.create()
    Path(adapter["file_path"]).unlink()
    world.sync()
    assert service.adapter(adapter["id"])["file_state"] == "missing"


def test_a_bad_file_stops_no_other(service: Service, world: World) -> None:
    """A bad file is reported, quarantined with its reason, and never stops the others"""
    path = service.weight_file()
    sound = document_of(service, path, name := service.name("Sound"))
    for number, content in enumerate((b"{", b"\xff\x00", b"[" * 9999, b"")):
        service.path(f"{sound.stem}-{number}.civitai.info").write_bytes(content)
    service.path(f"{sound.stem}-broken.safetensors").write_bytes(b"\x10\x00")
    world.sync()
    (adapter,) = with_path(service, path)
    assert adapter["name"] == name


def test_fields_come_from_where_they_should(service: Service, world: World) -> None:
    """Sources: `visibility` = availability, `canonical_version_name` = the version's name cleaned …, `triggers` =
    the trigger groups split and cleaned, `activation_text` = … the first group"""
    path = service.weight_file()
    number = 987_654_321
    name = service.name("Sources")
    one = version(number, name="  v1.0   final ", file=path.name, trainedWords=["a,  b", "c"], availability="Public")
    service.path(path.with_suffix(".json").name).write_text(json.dumps(model(number, one, name=name, made_up={"x": 1})))
    world.sync()
    (adapter,) = with_path(service, path)
    assert adapter["canonical_version_name"] == "v1.0 final"
    assert adapter["trained_words"] == ["a,  b", "c"]
    assert adapter["triggers"] == ["a", "b", "c"]
    assert adapter["activation_text"] == "a,  b"
    assert adapter["visibility"] == "Public"
    assert "made_up" in json.dumps(adapter["extra"])


def test_names_that_break_a_token_are_mended(service: Service, world: World) -> None:
    """`:`, `<`, `>` and control characters in an ingested name become `-`, the original in `extra.original_name`."""
    path = service.weight_file()
    document_of(service, path, name := service.name("A:B<C>\x01D"))
    world.sync()
    (adapter,) = with_path(service, path)
    assert not set(adapter["name"]) & set(":<>\x01")
    assert adapter["extra"]["original_name"] == name


def test_archetypes_have_a_confidence(service: Service, world: World) -> None:
    """Archetype (character, style, concept, clothing, pose, background, object, …) with a confidence."""
    items = service.get("/adapters", limit=100)["items"]
    told = [item for item in items if item["archetype"] is not None and item["archetype_confidence"] is not None]
    assert told
    assert all(0 <= item["archetype_confidence"] <= 1 for item in told)


def test_users_files_are_never_written(service: Service, world: World) -> None:
    """Users' files are read only: an ingest, a change and a deletion leave every byte as it was."""
    path = service.weight_file()
    sidecar = document_of(service, path, service.name("Kept"))
    before = [(each.read_bytes(), each.stat().st_mtime_ns) for each in (path, sidecar)]
    world.sync()
    (adapter,) = with_path(service, path)
    service.patch(adapter["id"], name=service.name("Changed"), weight=0.1)
    service.ask("DELETE", f"/adapters/{adapter['id']}", 204)
    assert [(each.read_bytes(), each.stat().st_mtime_ns) for each in (path, sidecar)] == before
