"""A library written by hand for the tests of the ingest: weights, documents, and the stages run over it."""

import hashlib
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select, text

from warehouse import facets
from warehouse.engine import Database
from warehouse.ingest import StageReport, build_adapters, inspect_files, read_documents, scan_library
from warehouse.models import Adapter
from warehouse.settings import Settings


def weights(seed: int = 0, *, metadata: dict[str, str] | None = None, rank: int = 4) -> bytes:
    """A valid safetensors file of one LoRA module; other seeds give other tensors."""
    tensors: dict[str, Any] = {}
    offset = 0
    for name, shape in (("lora_down.weight", [rank, 320]), ("lora_up.weight", [320, rank])):
        size = shape[0] * shape[1] * 2
        key = f"lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q.{name}"
        tensors[key] = {"dtype": "F16", "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    header = json.dumps({"__metadata__": metadata or {}, **tensors}).encode()
    return struct.pack("<Q", len(header)) + header + bytes([seed % 256]) * offset


def sha256(data: bytes) -> str:
    """As Civitai states it, in upper case."""
    return hashlib.sha256(data).hexdigest().upper()


def version(number: int, *, name: str = "v1", file: str = "file.safetensors", **more: Any) -> dict[str, Any]:
    """One version of a model document; `sha256` states the hash of its file."""
    hashes = {"SHA256": more.pop("sha256")} if "sha256" in more else {}
    return {
        "id": number,
        "name": name,
        "baseModel": "SD 1.5",
        "trainedWords": ["word"],
        "files": [{"name": file, "type": "Model", "primary": True, "sizeKB": 10.0, "hashes": hashes}],
        "images": [],
        **more,
    }


def model(number: int, *versions: dict[str, Any], name: str = "Model", **more: Any) -> dict[str, Any]:
    """A model document as Civitai's API gives it."""
    return {
        "id": number,
        "name": name,
        "type": "LORA",
        "description": "<p>text</p>",
        "tags": ["style"],
        "creator": {"username": "someone"},
        "stats": {"downloadCount": 5},
        "modelVersions": list(versions),
        **more,
    }


@dataclass
class Library:
    """A folder, and the database it is synced into."""

    root: Path
    database: Database
    settings: Settings

    def write(self, name: str, content: bytes | str | dict[str, Any] | list[Any]) -> Path:
        """Write a file below the root; anything but bytes and text becomes JSON."""
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    def sync(self, *, force: bool = False, roots: Sequence[Path] | None = None) -> dict[str, StageReport]:
        """All four stages, and the truth of the counters."""
        reports = {
            "files": scan_library(self.database, self.settings, roots or [self.root], force=force),
            "documents": read_documents(self.database, self.settings),
            "adapters": build_adapters(self.database, self.settings),
            "inspections": inspect_files(self.database, self.settings),
        }
        with self.database.read() as connection:
            assert facets.stored(connection) == facets.recount(connection)
        return reports

    def adapters(self) -> list[Any]:
        """Every adapter, by name and version."""
        with self.database.read() as connection:
            rows = connection.execute(select(Adapter.__table__)).all()
        return sorted(rows, key=lambda row: (row.name, row.version or "", row.source_key))

    def adapter(self) -> Any:
        """The only adapter."""
        (row,) = self.adapters()
        return row

    def query(self, statement: str) -> list[Any]:
        """Rows of a statement."""
        with self.database.read() as connection:
            return list(connection.execute(text(statement)).all())

    def execute(self, statement: str) -> None:
        """Change something as a user of the API would."""
        with self.database.write() as connection:
            connection.execute(text(statement))
            facets.repair(connection)

    def findings(self, code: str) -> list[Any]:
        """The findings of a code."""
        return self.query(f"SELECT * FROM findings WHERE code = '{code}' ORDER BY path, message")
