"""What a client changed and a sync reads: neither undoes the other."""

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from tests.warehouse.ingest.library import Library, model, version, weights
from warehouse import facets
from warehouse.audit import Actor
from warehouse.catalog import editing, registering
from warehouse.catalog.errors import FieldError, NameTakenError
from warehouse.catalog.many import Action, Order, Result, change_many
from warehouse.models import Adapter, AdapterDetail, AuditEntry, Finding, Tombstone
from warehouse.queries.adapters import AdapterRow

ACTOR = Actor("tester", "request-1")


def info(number: int, *, name: str = "Documented", **more: Any) -> dict[str, Any]:
    """A document of one version, as it lies beside a weight file."""
    stated = version(number, name=more.pop("version", "v1"), file="a.safetensors", trainedWords=["doc word"])
    return {
        **stated,
        "modelId": 1,
        "model": {"name": name, "type": "LORA"},
        "description": more.pop("description", "<p>stated</p>"),
        **more,
    }


def register(library: Library, **fields: Any) -> AdapterRow:
    return registering.register(library.database, library.settings, fields, ACTOR)


def patch(library: Library, adapter_id: str, *, reset: tuple[str, ...] = (), **fields: Any) -> AdapterRow:
    row = editing.update(library.database, library.settings, adapter_id, fields, ACTOR, reset=reset)
    check_counters(library)
    return row


def check_counters(library: Library) -> None:
    with library.database.read() as connection:
        assert facets.stored(connection) == facets.recount(connection)


def content_digest(library: Library, adapter_id: str) -> str:
    with library.database.read() as connection:
        return connection.execute(select(Adapter.content_digest).where(Adapter.id == adapter_id)).scalar_one()


def description_text(library: Library, adapter_id: str) -> str | None:
    with library.database.read() as connection:
        return connection.execute(
            select(AdapterDetail.description_text)
            .join(Adapter, Adapter.pk == AdapterDetail.adapter_pk)
            .where(Adapter.id == adapter_id)
        ).scalar_one()


def found(library: Library, word: str) -> list[str]:
    from warehouse.queries import pages
    from warehouse.queries.filters import make_filter

    with library.database.read() as connection:
        page = pages.page(connection, make_filter(question=word), pages.Sort(pages.SortKey.NAME), limit=50)
    return [row.name for row in page.rows]


def test_a_registered_file_is_reused_and_keeps_what_was_stated(library: Library) -> None:
    path = library.write("a.safetensors", weights(1))
    library.write("a.civitai.info", info(10))
    row = register(library, name="Mine", file_path=str(path), tags=["own"], weight=0.5, user_notes="note", active=True)
    assert (row.file_state, row.primary_file_size_kb) == ("present", path.stat().st_size / 1024)
    library.sync()
    adapter = library.adapter()
    assert (adapter.id, adapter.source_key) == (row.id, f"file:{path}")
    assert (adapter.name, adapter.version, adapter.tags) == ("Mine", "v1", ["own"])
    assert (adapter.weight, adapter.user_notes, adapter.active) == (0.5, "note", True)
    assert adapter.civitai_version_id == 10
    assert adapter.trained_words == ["doc word"]
    assert description_text(library, row.id) == "stated"
    assert found(library, "own") == found(library, "note") == found(library, "stated") == ["Mine"]
    # Vanishing and coming back is a state of the registered adapter too.
    path.unlink()
    (library.root / "a.civitai.info").unlink()
    library.sync(force=True)
    assert library.adapter().file_state == "missing"


def test_a_link_is_registered_under_the_path_that_a_sync_meets(library: Library) -> None:
    real = library.write("sub/a.safetensors", weights(1))
    (library.root / "link").symlink_to(library.root / "sub", target_is_directory=True)
    row = register(library, name="Linked", file_path=str(library.root / "link" / ".." / "link" / "a.safetensors"))
    assert row.file_path == str(real)
    library.sync()
    assert library.adapter().id == row.id


def test_two_registrations_of_one_file_are_two_adapters_and_a_sync_adds_none(library: Library) -> None:
    path = library.write("a.safetensors", weights(1))
    rows = {register(library, name=name, file_path=str(path)).id for name in ("One", "Two")}
    library.sync()
    library.sync(force=True)
    assert {row.id for row in library.adapters()} == rows


def test_a_file_that_lies_elsewhere_is_not_registered(
    library: Library, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inside = library.write("a.safetensors", weights(1))
    outside = tmp_path / "outside.safetensors"
    outside.write_bytes(weights(2))
    (library.root / "leads-out.safetensors").symlink_to(outside)
    (library.root / "loop.safetensors").symlink_to(library.root / "loop.safetensors")
    (library.root / "folder.safetensors").mkdir()
    restricted = library.settings.model_copy(update={"library_roots": [library.root]})
    confined = Library(library.root, library.database, restricted)
    for path in (
        outside,
        library.root / "leads-out.safetensors",
        library.root / ".." / "outside.safetensors",
        tmp_path / "absent.safetensors",
    ):
        with pytest.raises(FieldError, match="outside the library folders"):
            register(confined, name="x", file_path=str(path))
    for name in ("loop.safetensors", "folder.safetensors", "absent.safetensors"):
        with pytest.raises(FieldError):
            register(confined, name="x", file_path=str(library.root / name))
    assert register(confined, name="x", file_path=str(inside)).name == "x"
    # Folders of earlier syncs count beside configured ones.
    (tmp_path / "other").mkdir()
    elsewhere = tmp_path / "other" / "b.safetensors"
    elsewhere.write_bytes(weights(3))
    library.sync(roots=[tmp_path / "other"])
    assert register(confined, name="y", file_path=str(elsewhere)).name == "y"


def test_edits_stay_until_they_are_reset(library: Library) -> None:
    library.write("a.safetensors", weights(1))
    library.write("a.civitai.info", info(10))
    library.sync()
    before = library.adapter()
    patch(
        library,
        before.id,
        name="Edited",
        description="<p>gazelle</p><script>x</script>",
        base_model="Pony",
        trained_words=["one, two"],
        weight=0.3,
    )
    library.write("a.civitai.info", info(10, name="New", description="<p>other</p>", baseModel="SDXL 1.0"))
    library.sync()
    kept = library.adapter()
    assert (kept.name, kept.description, kept.weight) == ("Edited", "<p>gazelle</p>", 0.3)
    assert (kept.base_model, kept.sd_version) == ("Pony", "SDXL")
    assert (kept.trained_words, kept.triggers) == (["one, two"], ["one", "two"])
    assert description_text(library, before.id) == "gazelle"
    assert kept.content_digest != before.content_digest
    assert found(library, "gazelle") == ["Edited"]
    row = patch(
        library, before.id, reset=("name", "description", "base_model", "trained_words", "weight", "author_username")
    )
    assert (row.name, row.description, row.weight, row.weight_by_user) == ("New", "<p>other</p>", 1.0, False)
    assert (row.base_model, row.sd_version, row.triggers) == ("SDXL 1.0", "SDXL", ["doc word"])
    assert description_text(library, before.id) == "other"
    assert found(library, "gazelle") == []
    digest = content_digest(library, before.id)
    library.execute("UPDATE bundles SET revision = revision + 1")
    library.sync()
    restored = library.adapter()
    assert (restored.name, restored.user_fields) == ("New", [])
    # What was given back is what the documents give: no vector is due for it.
    assert restored.content_digest == digest


def test_the_digest_of_an_edit_is_that_of_the_next_sync(library: Library) -> None:
    library.write("a.safetensors", weights(1))
    library.write("a.civitai.info", info(10))
    library.sync()
    adapter_id = library.adapter().id
    patch(library, adapter_id, description="<p>mine</p>", user_tags=["Tag"])
    digest = content_digest(library, adapter_id)
    library.execute("UPDATE adapters SET derived_digest = NULL")
    library.execute("UPDATE bundles SET revision = revision + 1")
    library.sync()
    assert content_digest(library, adapter_id) == digest


def test_only_what_vectors_read_makes_them_due(library: Library) -> None:
    path = library.write("a.safetensors", weights(1))
    adapter_id = register(library, name="A", file_path=str(path)).id
    digests = [content_digest(library, adapter_id)]
    for fields in ({"user_tags": ["t"]}, {"tags": ["u"]}, {"extra": {"rank": 8}}, {"triggers": ["x"]}):
        patch(library, adapter_id, **fields)
        digests.append(content_digest(library, adapter_id))
    assert len(set(digests)) == len(digests)
    for fields in (
        {"weight": 0.2},
        {"user_notes": "n"},
        {"active": True},
        {"rating": 3.0},
        {"extra": {"rank": 8, "z": 1}},
    ):
        patch(library, adapter_id, **fields)
        assert content_digest(library, adapter_id) == digests[-1]


def test_a_reset_without_documents_gives_defaults_and_keeps_the_name(library: Library) -> None:
    path = library.write("a.safetensors", weights(1))
    adapter_id = register(library, name="A", file_path=str(path), base_model="Pony", weight=2.0).id
    row = patch(library, adapter_id, reset=("base_model", "weight"))
    assert (row.base_model, row.sd_version, row.weight, row.weight_by_user) == (None, None, 1.0, False)
    with pytest.raises(FieldError) as error:
        patch(library, adapter_id, reset=("name",))
    assert error.value.field == "name"


def test_a_reset_while_the_files_are_gone_waits_for_them(library: Library) -> None:
    path = library.write("a.safetensors", weights(1))
    library.sync()
    adapter_id = library.adapter().id
    patch(library, adapter_id, name="Mine")
    path.unlink()
    library.sync(force=True)
    assert patch(library, adapter_id, reset=("name",)).name == "Mine"
    path.write_bytes(weights(1))
    library.sync()
    assert (library.adapter().id, library.adapter().name) == (adapter_id, "a")


def test_a_version_that_is_reset_gives_way_to_another_adapter(library: Library) -> None:
    library.write("a.json", model(1, version(10), name="Same"))
    library.sync()
    adapter_id = library.adapter().id
    patch(library, adapter_id, version="mine")
    library.write("b.json", model(2, version(20), name="Same"))
    library.sync()
    assert {row.version for row in library.adapters()} == {"mine", "v1"}
    assert patch(library, adapter_id, reset=("version",)).version == "v1 (10)"


def test_documents_never_take_a_name_that_a_user_gave_away(library: Library) -> None:
    """A name or a version set by hand stays unique, whatever documents call the other half."""
    library.write("a.json", model(1, version(10, name="v1"), name="A"))
    library.write("b.json", model(2, version(20, name="v2"), name="B"))
    library.write("c.json", model(3, version(30, name="v3"), name="C"))
    library.sync()
    ids = {row.name: row.id for row in library.adapters()}
    patch(library, ids["A"], name="B")
    patch(library, ids["C"], version="v2")
    library.write("a.json", model(1, version(10, name="v2"), name="A"))
    library.write("c.json", model(3, version(30, name="v3"), name="B"))
    library.sync()
    rows = {row.id: (row.name, row.version) for row in library.adapters()}
    assert rows == {ids["A"]: ("B", "v2 (10)"), ids["B"]: ("B", "v2"), ids["C"]: ("C", "v2")}
    assert library.query("SELECT * FROM findings WHERE code = 'internal_error'") == []


def test_what_is_deleted_stays_so_until_its_files_change(library: Library) -> None:
    known = library.write("a.safetensors", weights(1))
    fresh = library.write("b.safetensors", weights(2))
    library.write("b.civitai.info", info(11))
    library.sync(roots=[library.root])
    library.execute("DELETE FROM adapters WHERE name <> 'a'")
    library.execute("UPDATE bundles SET revision = revision + 1")
    editing.delete(library.database, library.adapter().id, ACTOR)
    library.sync(force=True)
    assert [row.file_path for row in library.adapters()] == [str(fresh)]
    known.write_bytes(weights(3))
    library.sync()
    assert {row.file_path for row in library.adapters()} == {str(known), str(fresh)}


def test_a_registered_file_that_is_deleted_before_any_sync_stays_so(library: Library) -> None:
    path = library.write("a.safetensors", weights(1))
    document = library.write("a.civitai.info", info(10))
    editing.delete(library.database, register(library, name="A", file_path=str(path)).id, ACTOR)
    assert path.read_bytes() == weights(1)
    library.sync()
    library.sync(force=True)
    assert library.adapters() == []
    # From the first sync on its documents count as well.
    document.write_text(document.read_text().replace("stated", "changed"))
    library.sync()
    assert len(library.adapters()) == 1


def test_a_file_that_is_registered_again_is_there_again(library: Library) -> None:
    path = library.write("a.safetensors", weights(1))
    library.write("a.civitai.info", info(10))
    library.sync()
    editing.delete(library.database, library.adapter().id, ACTOR)
    row = register(library, name="Again", file_path=str(path))
    library.sync()
    assert (library.adapter().id, library.adapter().civitai_version_id) == (row.id, 10)
    with library.database.read() as connection:
        assert connection.execute(select(Tombstone)).all() == []


def test_duplicates_and_findings_go_with_the_adapter(library: Library) -> None:
    library.write("a/x.safetensors", weights(1))
    library.write("b/x.safetensors", weights(1))
    library.sync()
    assert len(library.query("SELECT * FROM duplicates WHERE kind = 'same_file'")) == 2
    second = next(row for row in library.adapters() if row.version is not None)
    with library.database.read() as connection:
        assert connection.execute(select(Finding).where(Finding.path == second.file_path)).all()
    editing.delete(library.database, second.id, ACTOR)
    assert library.query("SELECT * FROM duplicates") == []
    with library.database.read() as connection:
        assert connection.execute(select(Finding).where(Finding.path == second.file_path)).all() == []
    check_counters(library)


def test_one_statement_for_many(library: Library) -> None:
    from sqlalchemy import event

    path = library.write("a.safetensors", weights(1))
    ids = [register(library, name=f"A{number}", file_path=str(path)).id for number in range(60)]
    statements: list[str] = []

    def count(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        statements.append(statement)

    event.listen(library.database.engine, "before_cursor_execute", count)
    for order in (
        Order(Action.ACTIVATE, ordinal=3),
        Order(Action.TAG, ("Some", "tags")),
        Order(Action.FAVORITE),
        Order(Action.DELETE),
    ):
        statements.clear()
        assert change_many(library.database, ids, order, ACTOR) == dict.fromkeys(ids, Result.CHANGED)
        assert len(statements) < 25, order
        check_counters(library)
    event.remove(library.database.engine, "before_cursor_execute", count)
    with library.database.read() as connection:
        entries = connection.execute(select(AuditEntry).where(AuditEntry.action != "create")).all()
    assert len(entries) == 4 * 60
    assert len(library.query("SELECT * FROM activity WHERE kind <> 'creation'")) == 4


def test_a_name_is_one_adapters(library: Library) -> None:
    path = library.write("a.safetensors", weights(1))
    first = register(library, name="A", file_path=str(path))
    second = register(library, name="A", file_path=str(path), version="v2")
    for clash in ({"version": None}, {"version": None, "active": True}):
        with pytest.raises(NameTakenError):
            patch(library, second.id, **clash)
    patch(library, first.id, name="B")
    assert patch(library, second.id, version=None).version is None
