"""Minimal synthetic documents of every format, and the bundles that tests merge."""

import json
from typing import Any

from warehouse.civitai import BundleFacts, Merged, Reading, Source, WeightFacts, merge, read_document

SHA_A = "a1" * 32
SHA_B = "b2" * 32
SHA_C = "c3" * 32

Json = dict[str, Any]


def file_entry(name: str = "lantern.safetensors", sha256: str | None = SHA_A, **changes: Any) -> Json:
    """An entry of `files[]`."""
    hashes = {"SHA256": sha256.upper(), "AutoV2": sha256[:10].upper()} if sha256 else {}
    return {
        "id": 1,
        "name": name,
        "sizeKB": 1024.5,
        "type": "Model",
        "primary": True,
        "metadata": {"fp": "fp16", "format": "SafeTensor"},
        "hashes": hashes,
        "downloadUrl": "https://civitai.com/api/download/models/11",
        **changes,
    }


def version(number: int = 11, name: Any = "v1.0", **changes: Any) -> Json:
    """An entry of `modelVersions[]`."""
    return {
        "id": number,
        "name": name,
        "baseModel": "SDXL 1.0",
        "trainedWords": ["paper lantern, glowing", "lantern festival"],
        "description": "<p>First release</p>",
        "publishedAt": "2025-03-01T10:00:00.000Z",
        "createdAt": "2025-02-28T10:00:00.000Z",
        "availability": "Public",
        "nsfwLevel": 1,
        "stats": {"downloadCount": 120, "thumbsUpCount": 30},
        "files": [file_entry()],
        "images": [{"url": "https://image.example/1.png", "nsfwLevel": 1, "width": 8, "height": 9, "type": "image"}],
        "downloadUrl": "https://civitai.com/api/download/models/11",
        **changes,
    }


def model(*versions: Json, **changes: Any) -> Json:
    """An item of `/api/v1/models`."""
    return {
        "id": 7,
        "name": "Paper Lantern",
        "type": "LORA",
        "description": "<p>Soft <b>lanterns</b> at night</p>",
        "nsfw": False,
        "nsfwLevel": 3,
        "availability": "Public",
        "allowNoCredit": True,
        "allowCommercialUse": ["Image"],
        "allowDerivatives": False,
        "allowDifferentLicense": True,
        "stats": {"downloadCount": 900, "thumbsUpCount": 80, "commentCount": 4},
        "creator": {"username": "mori", "image": None},
        "tags": ["objects", "lantern"],
        "modelVersions": list(versions) or [version()],
        **changes,
    }


def info(number: int = 11, **changes: Any) -> Json:
    """A `.civitai.info` as Civitai-Helper writes it: a version document without creator, tags and licence."""
    return {
        **version(number),
        "modelId": 7,
        "model": {"name": "Paper Lantern", "type": "LORA", "nsfw": False, "poi": False},
        **changes,
    }


def read(document: Any, file_name: str = "lantern.json") -> Reading:
    """The reading of a document given as a value."""
    return read_document(json.dumps(document).encode(), file_name=file_name)


def source(document: Any, path: str = "/lib/lantern.json", mtime_ns: int = 1_700_000_000_000_000_000) -> Source:
    """A document at a path."""
    raw = json.dumps(document).encode()
    return Source(path=path, mtime_ns=mtime_ns, size=len(raw), reading=read_document(raw, file_name=path))


def weight(path: str = "/lib/lantern.safetensors", **changes: Any) -> WeightFacts:
    """A weight file whose hashes are not computed yet, unless given."""
    return WeightFacts(**{"path": path, "size": 1_049_088, **changes})


def merged(*sources: Source, beside: WeightFacts | None = None, stem: str = "lantern") -> Merged:
    """The bundle of these documents, merged."""
    return merge(BundleFacts(directory="/lib", stem=stem, weight=beside, sources=sources))
