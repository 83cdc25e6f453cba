from typing import Any

import pytest
from blake3 import blake3
from sqlalchemy import insert, select

from tests.warehouse.ingest.library import Library, model, sha256, version, weights
from warehouse import facets
from warehouse.fulltext import parse
from warehouse.ids import new_id
from warehouse.ingest import bury
from warehouse.models import Adapter, AdapterDetail
from warehouse.queries.matching import matches


def info(number: int, *, file: str, name: str = "A", model_id: int = 1, **more: Any) -> dict[str, Any]:
    """A `.civitai.info`: one version, with a little of its model."""
    return {**version(number, file=file, **more), "modelId": model_id, "model": {"name": name, "type": "LORA"}}


def by_version(library: Library) -> dict[int | None, Any]:
    return {row.civitai_version_id: row for row in library.adapters()}


def search(library: Library, words: str) -> list[str]:
    statement = matches(parse(words), sqlite=library.database.is_sqlite).subquery()
    with library.database.read() as connection:
        return sorted(
            connection.execute(select(Adapter.name).join(statement, statement.c.adapter_pk == Adapter.pk)).scalars()
        )


def test_a_weight_its_sidecars_and_the_other_versions(any_library: Library) -> None:
    library = any_library
    data = weights(1)
    library.write("a.safetensors", data)
    library.write(
        "a.json", model(1, version(10, file="a.safetensors", sha256=sha256(data)), version(11, name="v2"), name="Knit")
    )
    library.write(
        "b.safetensors", weights(2, metadata={"ss_output_name": "plain", "ss_network_module": "networks.lora"})
    )
    report = library.sync()
    rows = by_version(library)
    assert {number: row.file_state for number, row in rows.items()} == {10: "present", 11: "remote", None: "present"}
    assert rows[10].file_path == str(library.root / "a.safetensors")
    assert rows[11].file_path == str(library.root / "file.safetensors")
    assert rows[10].tags == ["style"]
    assert rows[10].author_username == "someone"
    assert rows[10].primary_file_sha256 == sha256(data).lower()
    assert search(library, "knit") == ["Knit", "Knit"]
    assert report["adapters"].details["inserted"] == 3
    (inspection,) = library.query(
        "SELECT i.* FROM inspections i JOIN files f ON f.pk = i.file_pk WHERE f.path LIKE '%b.safetensors'"
    )
    assert (inspection.valid, inspection.rank) in ((True, 4), (1, 4))
    provenance = library.query("SELECT provenance FROM adapter_details")
    assert len(provenance) == 3


def test_a_sync_without_changes_writes_nothing(any_library: Library) -> None:
    library = any_library
    library.write("a.safetensors", weights(1))
    library.write("a.civitai.info", info(10, file="a.safetensors"))
    library.sync()
    before = library.adapters()
    bundles = library.query("SELECT * FROM bundles")
    reports = library.sync()
    assert [reports[stage].changed for stage in reports] == [0, 0, 0, 0]
    assert library.adapters() == before
    assert library.query("SELECT * FROM bundles") == bundles


def test_a_rebuild_with_the_same_outcome_writes_no_adapter(library: Library) -> None:
    library.write("a.safetensors", weights(1))
    library.write("a.civitai.info", info(10, file="a.safetensors"))
    library.sync()
    before = library.adapters()
    library.execute("UPDATE bundles SET revision = revision + 1")
    report = library.sync()["adapters"]
    assert (report.details["bundles"], report.changed) == (1, 0)
    assert library.adapters() == before


def test_user_state_survives_and_edited_columns_stay(any_library: Library) -> None:
    library = any_library
    library.write("a.safetensors", weights(1))
    library.write("a.civitai.info", info(10, file="a.safetensors", name="Old"))
    library.sync()
    library.execute(
        "UPDATE adapters SET active = true, ordinal = 3, weight = 0.4, weight_by_user = true, favorite = true, "
        "user_notes = 'zebrafish', user_tags = '[\"Mine\"]', description = '<p>gazelle</p>', "
        "user_fields = '[\"description\"]'"
    )
    library.write("a.civitai.info", info(10, file="a.safetensors", name="New name", description="<p>other</p>"))
    library.write("a.json", {"description": "", "activation text": "act", "preferred weight": 0.9})
    library.sync()
    row = library.adapter()
    assert (row.active, row.ordinal, row.weight, row.favorite) == (True, 3, 0.4, True)
    assert (row.name, row.description) == ("New name", "<p>gazelle</p>")
    assert row.activation_text == "act"
    assert [tag.tag for tag in library.query("SELECT tag FROM adapter_tags")] == ["mine"]
    for words in ("zebrafish", "gazelle", "new", "mine"):
        assert search(library, words) == ["New name"]


def test_an_edited_name_stays_and_nothing_clashes_with_it(library: Library) -> None:
    library.write("a.json", model(1, version(10), name="A"))
    library.sync()
    library.execute("UPDATE adapters SET name = 'Mine', user_fields = '[\"name\"]'")
    library.write("a.json", model(1, version(10), name="A", tags=["new"]))
    library.write("b.json", model(2, version(20), name="Mine"))
    library.sync()
    assert [(row.name, row.version) for row in library.adapters()] == [("Mine", "v1"), ("Mine", "v1 (20)")]


def test_preferred_weight_of_a_sidecar_is_the_weight_until_a_user_sets_one(library: Library) -> None:
    library.write("a.safetensors", weights(1))
    library.write("a.json", {"activation text": "a", "preferred weight": 0.7})
    library.sync()
    assert library.adapter().weight == pytest.approx(0.7)
    library.write("a.json", {"activation text": "a", "preferred weight": 0.6})
    library.sync()
    assert library.adapter().weight == pytest.approx(0.6)


def test_the_weights_of_examples_and_sidecars_are_kept(any_library: Library) -> None:
    library = any_library
    library.write("a.safetensors", weights(1))
    images = [{"url": str(number), "meta": {"prompt": f"x <lora:a:0.{number}>"}} for number in (6, 7, 8)]
    library.write("a.civitai.info", info(10, file="a.safetensors", images=images))
    library.sync()
    assert _strengths(library) == {"count": 3, "median": 0.7, "low": 0.65, "high": 0.75}
    library.write("a.json", {"activation text": "a", "preferred weight": 0.9})
    library.sync()
    assert _strengths(library) == {"count": 3, "median": 0.7, "low": 0.65, "high": 0.75, "preferred": 0.9}
    library.write("a.civitai.info", info(10, file="a.safetensors", images=[]))
    library.sync()
    assert _strengths(library) == {"preferred": 0.9}
    library.write("a.json", {"activation text": "a"})
    library.sync()
    assert _strengths(library) is None


def _strengths(library: Library) -> Any:
    with library.database.read() as connection:
        return connection.execute(select(AdapterDetail.strengths)).scalar_one()


def test_vanished_is_a_state_and_coming_back_is_the_same_adapter(any_library: Library) -> None:
    library = any_library
    data = weights(1)
    library.write("a.safetensors", data)
    library.write("a.civitai.info", info(10, file="a.safetensors"))
    library.write("b.json", model(2, version(20), version(21, name="v2"), name="B"))
    library.sync()
    identities = {number: row.id for number, row in by_version(library).items()}
    (library.root / "a.safetensors").unlink()
    (library.root / "b.json").unlink()
    library.sync()
    rows = by_version(library)
    assert {number: row.file_state for number, row in rows.items()} == {10: "missing", 20: "missing", 21: "missing"}
    assert rows[20].name == "B"
    library.write("a.safetensors", data)
    library.write("b.json", model(2, version(20), name="B"))
    library.sync()
    rows = by_version(library)
    assert {number: row.file_state for number, row in rows.items()} == {10: "present", 20: "remote", 21: "missing"}
    assert {number: row.id for number, row in rows.items()} == identities


def test_a_weight_that_arrives_takes_the_adapter_of_its_version(any_library: Library) -> None:
    library = any_library
    data = weights(1)
    library.write("a.json", model(1, version(10, file="a.safetensors", sha256=sha256(data)), version(11, name="v2")))
    library.sync()
    library.execute("UPDATE adapters SET active = true WHERE civitai_version_id = 10")
    identity = by_version(library)[10].id
    library.write("a.safetensors", data)
    library.sync()
    row = by_version(library)[10]
    assert (row.id, row.file_state, row.active) == (identity, "present", True)
    assert len(library.adapters()) == 2


def test_a_file_finds_its_document_by_hash_wherever_it_lies(any_library: Library) -> None:
    library = any_library
    data = weights(1)
    library.write("meta/model.json", model(1, version(10, sha256=sha256(data)), version(11, name="v2"), name="Found"))
    library.sync()
    remote = by_version(library)[10].id
    library.write("files/anything.safetensors", data)
    library.sync()
    rows = by_version(library)
    assert set(rows) == {10, 11}
    assert (rows[10].id, rows[10].file_state, rows[10].name) == (remote, "present", "Found")
    assert rows[10].file_path.endswith("files/anything.safetensors")
    assert library.sync()["adapters"].changed == 0
    # What the document says later reaches the file too.
    library.write("meta/model.json", model(1, version(10, sha256=sha256(data)), version(11, name="v2"), name="Better"))
    library.sync()
    assert {row.name for row in library.adapters()} == {"Better"}
    assert by_version(library)[10].id == remote


def test_a_document_finds_the_file_that_was_there_before(library: Library) -> None:
    data = weights(1)
    library.write("files/x.safetensors", data)
    library.sync()
    library.execute("UPDATE adapters SET active = true, user_notes = 'kept'")
    library.write("meta/model.json", model(1, version(10, sha256=sha256(data)), name="Found"))
    library.sync()
    row = library.adapter()
    assert (row.name, row.file_state, row.active, row.user_notes) == ("Found", "present", True, "kept")


def test_one_version_in_many_documents_is_one_adapter(library: Library) -> None:
    one, two = weights(1), weights(2)
    both = model(1, version(10, sha256=sha256(one)), version(11, name="v2", sha256=sha256(two)), name="Twice")
    library.write("a/one.safetensors", one)
    library.write("a/one.json", both)
    library.write("b/two.safetensors", two)
    library.write("b/two.json", both)
    library.write("c/page.json", {"items": [both], "metadata": {}})
    library.sync()
    rows = library.adapters()
    assert sorted((row.civitai_version_id, row.file_state) for row in rows) == [(10, "present"), (11, "present")]
    assert library.findings("version_elsewhere")


def test_who_also_listed_a_version_lists_it_when_the_other_is_gone(library: Library) -> None:
    library.write("a.json", model(1, version(10), name="Here"))
    library.write("b.json", model(1, version(10), name="Here"))
    library.sync()
    identity = library.adapter().id
    (library.root / "a.json").unlink()
    library.sync()
    row = library.adapter()
    assert (row.id, row.file_state) == (identity, "remote")
    assert row.json_file_path.endswith("b.json")


def test_name_clashes_get_a_stable_version_and_are_reported(any_library: Library) -> None:
    library = any_library
    library.write("a.json", model(1, version(10), name="Same"))
    library.write("b.json", model(2, version(20), name="Same"))
    library.write("c/x.safetensors", weights(1))
    library.write("d/x.safetensors", weights(2))
    library.sync()
    names = [(row.name, row.version) for row in library.adapters()]
    assert names == [("Same", "v1"), ("Same", "v1 (20)"), ("x", None), ("x", "(x)")]
    assert [row.extra.get("original_version", "-") for row in library.adapters()] == ["-", "v1", "-", None]
    assert len(library.findings("name_clash")) == 2
    assert len(library.query("SELECT * FROM duplicates WHERE kind = 'name_clash'")) == 4
    # It keeps what it got, also when nobody else has the name any more, and is reported as long as it does.
    (library.root / "a.json").unlink()
    library.write("b.json", model(2, version(20), name="Same", tags=["other"]))
    library.sync()
    assert [(row.name, row.version) for row in library.adapters()] == names
    assert len(library.findings("name_clash")) == 2


def test_a_buried_adapter_comes_back_only_when_its_files_change(any_library: Library) -> None:
    library = any_library
    library.write("a.safetensors", weights(1))
    library.write("b.json", model(1, version(10), version(11, name="v2"), name="B"))
    library.sync()
    with library.database.write() as connection:
        pks = connection.execute(select(Adapter.pk).where(Adapter.version.is_distinct_from("v2"))).scalars().all()
        assert bury(connection, pks) == 2
    library.sync(force=True)
    assert [row.version for row in library.adapters()] == ["v2"]
    # The same bytes elsewhere are another adapter: the tombstone is by path.
    library.write("copy.safetensors", weights(1))
    library.sync()
    assert len(library.adapters()) == 2
    library.write("b.json", model(1, version(10), version(11, name="v2"), name="Changed"))
    library.sync()
    assert sorted(row.version or "" for row in library.adapters()) == ["", "v1", "v2"]


def test_a_registered_path_is_reused(any_library: Library) -> None:
    library = any_library
    path = library.write("a.safetensors", weights(1))
    library.write("z.safetensors", weights(9))
    library.sync()
    with library.database.write() as connection:
        row = connection.execute(select(Adapter.__table__).where(Adapter.name == "a")).mappings().one()
        bury(connection, [row["pk"]])
        identity = new_id()
        fresh = {**row, "id": identity, "source_key": f"api:{identity}", "bundle_pk": None, "file_pk": None}
        fresh |= {"name": "Registered", "user_fields": ["name"], "active": True, "derived_digest": None}
        del fresh["pk"]
        connection.execute(insert(Adapter), [fresh])
        facets.repair(connection)
    path.write_bytes(weights(2))
    library.sync()
    rows = {row.name: row for row in library.adapters()}
    assert set(rows) == {"Registered", "z"}
    assert (rows["Registered"].id, rows["Registered"].active) == (identity, True)
    assert rows["Registered"].source_key == f"file:{path}"


def test_a_document_under_another_suffix_is_the_same_adapter(library: Library) -> None:
    path = library.write("a.json", model(1, version(10), name="A"))
    library.sync()
    identity = library.adapter().id
    text = path.read_text()
    path.unlink()
    library.write("a.api_info.json", text)
    library.sync()
    assert library.adapter().id == identity
    assert library.adapter().file_state == "remote"


def test_two_weights_of_one_stem(library: Library) -> None:
    library.write("a.safetensors", weights(1))
    library.write("a.pt", b"\x80\x02}q\x00." + b"0" * 100)
    library.write("a.json", model(1, version(10, file="a.safetensors"), name="A"))
    library.sync()
    states = {row.file_path.rpartition("/")[2]: row.file_state for row in library.adapters()}
    assert set(states) == {"a.safetensors", "a.pt"}


def test_values_that_a_database_cannot_hold_stop_nobody_else(any_library: Library) -> None:
    library = any_library
    library.write("a.json", model(2**70, version(10), name="Huge", stats={"downloadCount": 2**80}))
    library.write("b.json", model(2, version(20), name="B", strange=[1e308, -(2**62), {"deep": [[[[]]]]}]))
    library.write("c.json", model(3, version(30), name="\ud800C".encode("utf-8", "replace").decode()))
    library.sync()
    assert "B" in {row.name for row in library.adapters()}
    assert library.sync()["adapters"].changed == 0


def test_full_text_follows_every_change(any_library: Library) -> None:
    library = any_library
    library.write("a.json", model(1, version(10), name="Giraffe", tags=["東京"]))
    library.sync()
    assert search(library, "giraffe") == search(library, "東京") == ["Giraffe"]
    library.write("a.json", model(1, version(10), name="Okapi"))
    library.sync()
    assert search(library, "giraffe") == search(library, "東京") == []
    assert search(library, "okapi") == ["Okapi"]
    with library.database.write() as connection:
        bury(connection, connection.execute(select(Adapter.pk)).scalars().all())
    assert search(library, "okapi") == []


def test_a_version_that_its_file_no_longer_is_stays_listed(any_library: Library) -> None:
    library = any_library
    library.write("a.safetensors", weights(1))
    library.write("a.civitai.info", info(10, file="other.safetensors"))
    library.sync()
    # The file goes away from its document, which states no hash by which it could be found again.
    (library.root / "a.safetensors").rename(library.root / "b.safetensors")
    library.sync()
    assert [(row.name, row.version, row.file_state) for row in library.adapters()] == [
        ("A", "v1", "remote"),
        ("b", None, "present"),
    ]
    assert library.findings("version_elsewhere") == []


def test_a_document_that_outranks_another_leaves_the_version_of_that_one_listed(library: Library) -> None:
    library.write("a.safetensors", weights(1))
    library.write("a.json", model(1, version(10, file="x.safetensors"), name="First"))
    library.sync()
    library.write("a.civitai.info", info(12, file="x.safetensors", model_id=3, name="Second"))
    library.sync()
    assert {number: (row.name, row.version, row.file_state) for number, row in by_version(library).items()} == {
        10: ("First", "v1", "remote"),
        12: ("Second", "v1", "present"),
    }


def test_names_that_adapters_exchange_are_no_clash(any_library: Library) -> None:
    library = any_library
    for stem, number in (("a", 10), ("b", 20)):
        data = weights(number)
        library.write(f"{stem}.safetensors", data)
        document = info(number, file="x", name=stem.upper(), model_id=number, sha256=sha256(data))
        library.write(f"{stem}.civitai.info", document)
    library.sync()
    for suffix in (".safetensors", ".civitai.info"):
        (library.root / f"a{suffix}").rename(library.root / "aside")
        (library.root / f"b{suffix}").rename(library.root / f"a{suffix}")
        (library.root / "aside").rename(library.root / f"b{suffix}")
    library.sync()
    assert [(row.name, row.version, row.file_path.rpartition("/")[2]) for row in library.adapters()] == [
        ("A", "v1", "b.safetensors"),
        ("B", "v1", "a.safetensors"),
    ]
    assert library.findings("name_clash") == []


def test_every_copy_of_a_file_finds_the_document_that_lies_elsewhere(any_library: Library) -> None:
    library = any_library
    data = weights(1)
    library.write("x/one.safetensors", data)
    library.write("y/two.safetensors", data)
    library.write("m/model.json", model(1, version(10, sha256=sha256(data)), name="Found"))
    library.sync()
    assert [(row.name, row.civitai_version_id, row.file_state) for row in library.adapters()] == [
        ("Found", 10, "present"),
        ("Found", 10, "present"),
    ]


@pytest.mark.parametrize("kind", ["SHA256", "AutoV2", "AutoV3", "BLAKE3"])
def test_a_document_that_comes_after_its_file_finds_it_by_any_hash(any_library: Library, kind: str) -> None:
    library = any_library
    data = weights(1)
    library.write("x/one.safetensors", data)
    library.sync()
    hashes = {
        "SHA256": sha256(data),
        "AutoV2": sha256(data)[:10],
        "AutoV3": sha256(data[8 + int.from_bytes(data[:8], "little") :])[:12],
        "BLAKE3": blake3(data).hexdigest().upper(),
    }
    stated = version(10)
    stated["files"][0]["hashes"] = {kind: hashes[kind]}
    library.write("m/model.json", model(1, stated, name="Found"))
    library.sync()
    assert (library.adapter().name, library.adapter().file_state) == ("Found", "present")


def test_a_file_that_arrives_where_a_version_without_a_hash_expects_it_is_that_version(any_library: Library) -> None:
    library = any_library
    document = model(1, version(10, file="one.safetensors"), version(11, name="v2", file="two.safetensors"))
    library.write("all.json", document)
    library.sync()
    library.execute("UPDATE adapters SET active = true WHERE civitai_version_id = 11")
    identity = by_version(library)[11].id
    path = library.write("two.safetensors", weights(2))
    library.sync()
    assert {number: row.file_state for number, row in by_version(library).items()} == {10: "remote", 11: "present"}
    row = by_version(library)[11]
    assert (row.id, row.active, row.file_path) == (identity, True, str(path))
    # It stays so when it is derived anew, and follows its document.
    library.execute("UPDATE bundles SET revision = revision + 1")
    assert library.sync()["adapters"].changed == 0
    library.write("all.json", {**document, "name": "Renamed"})
    library.sync()
    assert by_version(library)[11].name == "Renamed"


def test_a_file_of_other_bytes_than_stated_is_not_taken_by_its_name(library: Library) -> None:
    library.write("all.json", model(1, version(10, file="last.safetensors", sha256=sha256(weights(1))), name="M"))
    library.write("last.safetensors", weights(2))
    library.sync()
    assert [(row.name, row.file_state) for row in library.adapters()] == [("M", "remote"), ("last", "present")]


def test_notes_beside_a_file_keep_it_from_no_document(library: Library) -> None:
    one, two = weights(1), weights(2)
    library.write("x/one.safetensors", one)
    library.write("x/one.civitai.info", {})
    library.write("x/two.safetensors", two)
    library.write("x/two.json", {"activation text": "mine", "preferred weight": 0.5, "sha256": sha256(two)})
    library.write("x/copy.safetensors", two)
    library.write("x/copy.json", {"activation text": "copied", "preferred weight": 0.4, "sha256": sha256(two)})
    versions = version(10, sha256=sha256(one)), version(11, name="v2", sha256=sha256(two))
    library.write("m/model.json", model(1, *versions, name="Found"))
    library.sync()
    assert sorted(
        (row.name, row.civitai_version_id, row.activation_text, row.weight) for row in library.adapters()
    ) == [
        ("Found", 10, "word", 1.0),
        ("Found", 11, "copied", 0.4),
        ("Found", 11, "mine", 0.5),
    ]
    assert library.query("SELECT count(*) FROM bundles WHERE built_revision < revision") == [(0,)]


def test_a_file_forgets_a_document_elsewhere_that_is_gone(any_library: Library) -> None:
    library = any_library
    data = weights(1)
    library.write("x/one.safetensors", data)
    library.write("m/model.json", model(1, version(10, sha256=sha256(data)), name="Found"))
    library.sync()
    assert library.adapter().name == "Found"
    (library.root / "m/model.json").unlink()
    library.sync()
    assert (library.adapter().name, library.adapter().civitai_version_id) == ("one", None)


def test_a_version_that_a_name_gave_and_a_hash_takes_away_is_listed_again(any_library: Library) -> None:
    library = any_library
    data = weights(3)
    library.write("by_hash.civitai.info", info(103, file="other.safetensors", name="Hash", sha256=sha256(data)))
    library.write("by_name.json", model(2, version(105, file="w5.safetensors"), name="Name"))
    library.write("w5.safetensors", data)
    library.sync()
    assert [(row.name, row.civitai_version_id, row.file_state) for row in library.adapters()] == [
        ("Hash", 103, "present"),
        ("Name", 105, "remote"),
    ]
    before = library.adapters()
    library.execute("UPDATE bundles SET revision = revision + 1")
    assert library.sync()["adapters"].changed == 0
    assert library.adapters() == before


def test_a_file_that_moved_unseen_to_where_a_version_expects_it_is_that_version(any_library: Library) -> None:
    library = any_library
    library.write("a/lost.safetensors", weights(1))
    library.write("all.json", model(1, version(10, file="found.safetensors"), name="M"))
    library.sync()
    library.execute("UPDATE adapters SET active = true WHERE civitai_version_id IS NULL")
    (library.root / "a/lost.safetensors").unlink()
    library.write("found.safetensors", weights(1))
    library.sync()
    row = library.adapter()
    assert (row.name, row.civitai_version_id, row.file_state, row.active) == ("M", 10, "present", True)


def test_a_file_known_by_its_name_forgets_a_document_that_is_gone(any_library: Library) -> None:
    library = any_library
    library.write("all.json", model(1, version(10, file="one.safetensors"), name="M"))
    library.write("one.safetensors", weights(1))
    library.sync()
    assert library.adapter().civitai_version_id == 10
    (library.root / "all.json").unlink()
    library.sync()
    assert (library.adapter().name, library.adapter().civitai_version_id) == ("one", None)
