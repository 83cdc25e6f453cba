"""A whole sample library: weight files, sidecars in every format, previews, and a few broken ones.

Belongs here: what lies where, and how often each format occurs. Does not: the contents of one file (`weights`,
`documents`, `pictures`), what is broken on purpose (`defects`).
"""

from __future__ import annotations

import hashlib
import zlib
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from random import Random

import msgspec
from blake3 import blake3

from warehouse.samples import documents, pictures
from warehouse.samples.folder import SampleFolder
from warehouse.samples.naming import Names
from warehouse.samples.records import Hashes, Model, RecordMaker, Version, WeightClaim
from warehouse.samples.weights import weight_file

Progress = Callable[[int, int], None]
"""Called with (adapters made, adapters wanted)."""

FORMAT_VERSION = 1


class SidecarFormat(StrEnum):
    """How the metadata of a sample adapter is written down."""

    civitai_info = "civitai_info"
    a1111 = "a1111"
    lora_manager = "lora_manager"
    stability_matrix = "stability_matrix"
    swarm = "swarm"
    rgthree = "rgthree"
    model_dump = "model_dump"
    civitdl = "civitdl"
    api_document = "api_document"
    page = "page"
    header_only = "header_only"


_SHARES = {
    SidecarFormat.civitai_info: 26,
    SidecarFormat.a1111: 6,
    SidecarFormat.lora_manager: 16,
    SidecarFormat.stability_matrix: 9,
    SidecarFormat.swarm: 6,
    SidecarFormat.rgthree: 6,
    SidecarFormat.model_dump: 11,
    SidecarFormat.civitdl: 5,
    SidecarFormat.api_document: 6,
    SidecarFormat.page: 2,
    SidecarFormat.header_only: 7,
}
_MANY_VERSIONS = frozenset({SidecarFormat.model_dump, SidecarFormat.civitdl, SidecarFormat.api_document})


@dataclass(slots=True)
class SampleReport:
    """What was written. `broken` maps the path of a defect to what is wrong with it; `adapters` counts the rest."""

    root: Path
    adapters: int = 0
    weights: int = 0
    files: int = 0
    bytes: int = 0
    formats: Counter[str] = field(default_factory=Counter)
    broken: dict[str, str] = field(default_factory=dict)


def generate_library(
    path: Path,
    *,
    adapters: int,
    seed: int = 0,
    formats: Collection[SidecarFormat] = tuple(SidecarFormat),
    weights: bool = True,
    broken: bool = True,
    progress: Progress | None = None,
) -> SampleReport:
    """Write a library of `adapters` sound adapters (one per version of a model) into `path`.

    Equal arguments give equal bytes. The folder must be new, empty, or one this function made with the same
    arguments, which is completed. Without `weights` only documents are written, without `broken` only sound
    ones. Raises `SampleError` for a folder that may not be used, `ValueError` for impossible arguments.
    """
    if adapters < 0 or not formats:
        raise ValueError("A sample library needs a number of adapters that is not negative, and a format.")
    chosen = [each for each in SidecarFormat if each in formats]
    parameters: dict[str, object] = {"format": FORMAT_VERSION, "adapters": adapters, "seed": seed}
    parameters |= {"formats": [each.value for each in chosen], "weights": weights, "broken": broken}
    library = Library(SampleFolder(path, parameters), seed, with_weights=weights)
    library.fill(adapters, chosen, progress)
    if broken:
        from warehouse.samples.defects import add_defects

        add_defects(library, adapters)
    library.report.files, library.report.bytes = library.folder.files, library.folder.bytes
    return library.report


class Library:
    """A library being written."""

    def __init__(self, folder: SampleFolder, seed: int, *, with_weights: bool) -> None:
        self.folder = folder
        self.random = Random(f"sample library {seed}")  # noqa: S311 - samples, not secrets
        self.records = RecordMaker(self.random)
        self.names = Names()
        self.with_weights = with_weights
        self.report = SampleReport(folder.root)
        self.specimens: list[tuple[str, bytes]] = []
        """Some sound weight files, (path, content), for duplicates to be made of."""

    def fill(self, adapters: int, formats: list[SidecarFormat], progress: Progress | None) -> None:
        """Add sound adapters until there are `adapters`."""
        shares = [_SHARES[each] for each in formats]
        while self.report.adapters < adapters:
            chosen = self.random.choices(formats, shares)[0]
            room = adapters - self.report.adapters
            if chosen is SidecarFormat.page:
                self._add_page(min(room, self.random.randint(3, 6)))
            else:
                self._add(chosen, room)
            if progress is not None:
                progress(self.report.adapters, adapters)

    def model(self, *, versions: int | None = None) -> Model:
        """A new model under a name of its own."""
        return self.records.model(self.names.subject(self.random), versions=versions)

    def write_json(self, relative: str, document: object) -> None:
        """Write a document as UTF-8 JSON."""
        self.folder.write(relative, msgspec.json.encode(document))

    def place_weight(self, model: Model, version: Version, relative: str) -> tuple[Model, Version, bytes]:
        """Write the weight file of a version; the model and version whose claims now fit it."""
        content = weight_file(self.random, model.subject, version)
        if self.with_weights:
            self.folder.write(relative, content)
            self.report.weights += 1
        if len(self.specimens) < 64:
            self.specimens.append((relative, content))
        file = measured_claim(version.file, content)
        index = model.versions.index(version)
        updated = model.with_file(version, file)
        return updated, updated.versions[index], content

    def _add_page(self, count: int) -> None:
        models = [self.model(versions=1) for _ in range(count)]
        self.write_json(f"pages/models-{models[0].model_id}.json", documents.page(self.random, models))
        self.report.adapters += count
        self.report.formats[SidecarFormat.page] += count

    def _add(self, chosen: SidecarFormat, room: int) -> None:
        model = self.model(versions=None if chosen in _MANY_VERSIONS and room >= 4 else 1)
        count = len(model.versions)
        self.report.adapters += count
        self.report.formats[chosen] += count
        directory = f"{model.subject.folder}/{model.subject.theme.slug}"
        if chosen is SidecarFormat.api_document:
            self.write_json(f"{directory}/{model.model_id}.json", documents.api_model(self.random, model))
            return
        version = self.random.choice(model.versions)
        stem = version.file.name.removesuffix(".safetensors")
        if chosen is SidecarFormat.civitdl:
            stem = f"{stem}-mid_{model.model_id}-vid_{version.version_id}"
        model, version, content = self.place_weight(model, version, f"{directory}/{stem}.safetensors")
        self._add_sidecars(chosen, model, version, f"{directory}/{stem}", content)
        self._add_preview(chosen, model, f"{directory}/{stem}")

    def _add_sidecars(self, chosen: SidecarFormat, model: Model, version: Version, stem: str, content: bytes) -> None:
        random = self.random
        name = stem.rpartition("/")[2]
        match chosen:
            case SidecarFormat.civitai_info:
                merged = random.random() < 0.8
                self.write_json(
                    f"{stem}.civitai.info", documents.version_document(random, model, version, merged=merged)
                )
                if random.random() < 0.4:
                    self.write_json(f"{stem}.json", documents.a1111(random, model, version))
            case SidecarFormat.a1111:
                self.write_json(f"{stem}.json", documents.a1111(random, model, version))
            case SidecarFormat.lora_manager:
                document = documents.lora_manager(random, model, version, name, len(content))
                self.write_json(f"{stem}.metadata.json", document)
            case SidecarFormat.stability_matrix:
                self.write_json(f"{stem}.cm-info.json", documents.stability_matrix(random, model, version))
            case SidecarFormat.swarm:
                payload = hashlib.sha256(payload_of(content)).hexdigest()
                self.write_json(f"{stem}.swarm.json", documents.swarm(random, model, version, payload))
            case SidecarFormat.rgthree:
                self.write_json(f"{stem}.safetensors.rgthree-info.json", documents.rgthree(random, model, version))
            case SidecarFormat.model_dump:
                self.write_json(f"{stem}.json", documents.api_model(random, model))
            case SidecarFormat.civitdl:
                ids = f"mid_{model.model_id}-vid_{version.version_id}"
                extra = f"{stem.rpartition('/')[0]}/extra_data-vid_{version.version_id}"
                self.write_json(f"{extra}/model_dict-{ids}.json", documents.api_model(random, model))
            case _:
                pass

    def _add_preview(self, chosen: SidecarFormat, model: Model, stem: str) -> None:
        if self.random.random() < 0.2:
            return
        theme = model.subject.theme
        if chosen is SidecarFormat.lora_manager:
            self.folder.write(f"{stem}.webp", pictures.field(theme))
        else:
            suffix = ".png" if chosen in (SidecarFormat.swarm, SidecarFormat.rgthree) else ".preview.png"
            self.folder.write(stem + suffix, pictures.landscape(self.random, theme))


def payload_of(content: bytes) -> bytes:
    """The bytes after the header of a sound file."""
    return content[8 + int.from_bytes(content[:8], "little") :]


def measured_claim(claim: WeightClaim, content: bytes) -> WeightClaim:
    """`claim` with the size and hashes of `content`."""
    hashes = Hashes(
        sha256=hashlib.sha256(content).hexdigest(),
        blake3=blake3(content).hexdigest(),
        crc32=f"{zlib.crc32(content):08x}",
        autov1=hashlib.sha256(content[0x100000:0x110000]).hexdigest()[:8],
        autov3=hashlib.sha256(payload_of(content)).hexdigest()[:12],
    )
    return WeightClaim(claim.file_id, claim.name, len(content) / 1024, hashes)
