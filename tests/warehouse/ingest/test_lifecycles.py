"""Whatever happens to a library, what a sync leaves is what deriving everything anew leaves."""

import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.warehouse.ingest.library import Library, model, sha256, version, weights
from warehouse.ingest import build_adapters

STEPS = 8
FOLDERS = ("", "a/", "b/", "c/")
STEMS = (*(f"w{number}" for number in range(8)), "x", "y", "same")
TABLES = ("files", "documents", "bundles", "adapters", "adapter_details", "findings", "hash_claims", "duplicates")


class Person:
    """Somebody who adds, edits, renames, copies and deletes weights and documents of eight versions of one model."""

    def __init__(self, library: Library, seed: int) -> None:
        self._library = library
        self._random = random.Random(seed)

    def act(self) -> None:
        """Do one thing."""
        write = (self._write_weight, self._write_document)
        self._random.choice((*write, *write, self._delete, self._rename, self._copy))()

    def _place(self) -> str:
        return self._random.choice(FOLDERS) + self._random.choice(STEMS)

    def _write_weight(self) -> None:
        self._library.write(f"{self._place()}.safetensors", weights(self._random.randrange(8)))

    def _write_document(self) -> None:
        numbers = self._random.sample(range(8), self._random.randint(1, 3))
        described = model(1, *(self._version(number) for number in numbers), name="M")
        suffix, document = self._random.choice(
            [
                (".json", described),
                (".api_info.json", described),
                (".json", {"items": [described], "metadata": {}}),
                (".json", {"activation text": "mine", "preferred weight": 0.5}),
                (".civitai.info", {}),
                (".civitai.info", {**self._version(numbers[0]), "modelId": 1, "model": {"name": "M", "type": "LORA"}}),
            ]
        )
        self._library.write(f"{self._place()}{suffix}", document)

    def _version(self, number: int) -> dict[str, Any]:
        stated = {"sha256": sha256(weights(number))} if self._random.random() < 0.6 else {}
        file = self._random.choice([f"w{number}.safetensors", "same.safetensors"])
        return version(100 + number, name=f"v{number}", file=file, **stated)

    def _file(self) -> Path | None:
        files = sorted(path for path in self._library.root.rglob("*") if path.is_file() and path.stem != "keep")
        return self._random.choice(files) if files else None

    def _elsewhere(self, path: Path) -> Path:
        suffix = path.name[path.name.index(".") :]
        target = self._library.root / f"{self._place()}{suffix}"
        target.parent.mkdir(exist_ok=True)
        return target

    def _delete(self) -> None:
        if (path := self._file()) is not None:
            path.unlink()

    def _rename(self) -> None:
        if (path := self._file()) is not None and not (target := self._elsewhere(path)).exists():
            path.rename(target)

    def _copy(self) -> None:
        if (path := self._file()) is not None and not (target := self._elsewhere(path)).exists():
            shutil.copy2(path, target)


def _rows(library: Library) -> dict[str, list[Any]]:
    return {table: library.query(f"SELECT * FROM {table} ORDER BY 1, 2") for table in TABLES}


@pytest.mark.parametrize("seed", [5, 8, 18, 36, 61])
def test_a_sync_leaves_what_deriving_anew_leaves(library: Library, seed: int) -> None:
    person = Person(library, seed)
    library.write("keep.safetensors", weights(99))
    for _ in range(STEPS):
        for _ in range(3):
            person.act()
        library.sync()
        before = _rows(library)
        library.sync()
        assert _rows(library) == before
        adapters = library.adapters()
        library.execute("UPDATE bundles SET revision = revision + 1")
        build_adapters(library.database, library.settings)
        assert library.adapters() == adapters
