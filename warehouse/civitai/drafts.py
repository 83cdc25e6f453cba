"""Building one draft: every field from the best source that states it, with its provenance.

`statements` come in order of precedence, so "the first that is not empty" is the rule of every field. What does not
belong here: which statements speak of which adapter (`merge`).

What follows from the fields of a draft (archetype, strengths, content digest) is `assess`, a step of its own, for
which the code of the rest need not stay in a processor's cache.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

from msgspec.structs import force_setattr

from warehouse.civitai import markup, names, values
from warehouse.civitai.archetype import Evidence, classify
from warehouse.civitai.content import FACTS, Content, content_digest
from warehouse.civitai.facts import AdapterDraft, Finding, WeightFacts
from warehouse.civitai.fields import unique
from warehouse.civitai.readers.header_dump import phrases, training_facts
from warehouse.civitai.records import Example, FileClaim, JsonObject
from warehouse.civitai.resolution import choose_file, is_weight_claim
from warehouse.civitai.statements import Statement
from warehouse.civitai.strengths import Identity, strengths_of
from warehouse.civitai.verdicts import FileState, FindingCode, Severity

HEADER: Final = "header"
FILE: Final = "file"
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MAX_BASE_MODEL: Final = 64
_MAX_AUTHOR: Final = 200
_MAX_TAGS: Final = 500
_MAX_VISIBILITY: Final = 32
_DERIVED_FROM: Final = {
    "canonical_version_name": "version",
    "description_text": "description",
    "triggers": "trained_words",
    "downloads": "stats",
    "likes": "stats",
    "rating": "stats",
}

Value = TypeVar("Value")


class DraftBuilder:
    """Builds the drafts of one bundle; remembers sanitised descriptions and the paths already given away."""

    def __init__(self, directory: str, stem: str) -> None:
        self.directory = directory
        self.stem = stem
        self.findings: list[Finding] = []
        self._descriptions: dict[str, tuple[str | None, str | None]] = {}
        self._paths: set[str] = set()

    def build(
        self,
        statements: Sequence[Statement],
        *,
        source_key: str,
        weight: WeightFacts | None,
        file_path: str | None,
        file_state: FileState,
        beside_documents: bool = False,
    ) -> AdapterDraft:
        """The draft of one adapter, but for what `assess` adds.

        Without `file_path` it is the path where the stated file would lie. With `beside_documents` a version that
        states no file would lie under the stem of its documents.
        """
        draft = _Draft(self, statements, weight)
        return draft.finish(source_key, file_path, file_state, beside_documents=beside_documents)

    def describe(self, text: str, *, plain: bool) -> tuple[str | None, str | None]:
        """Sanitised HTML and plain text of a description, computed once for all versions of a model."""
        known = self._descriptions.get(text)
        if known is None:
            is_plain = plain and not markup.looks_like_html(text)
            sanitised = markup.sanitise_html(markup.plain_to_html(text) if is_plain else text)
            known = (sanitised, markup.html_to_text(sanitised) if sanitised is not None else None)
            self._descriptions[text] = known
        return known

    def sibling_path(self) -> str:
        """Where the weight beside the documents would lie."""
        return self._claim_path(f"{self.stem}.safetensors", None)

    def remote_path(self, file_name: str, version_id: int | None) -> str:
        """Where a version's file would lie: in the documents' folder, distinct from every other of the bundle."""
        return self._claim_path(file_name, version_id)

    def take_path(self, path: str) -> str:
        """Note a path that a real file has."""
        self._paths.add(path)
        return path

    def _claim_path(self, file_name: str, version_id: int | None) -> str:
        path = self._join(file_name)
        if path in self._paths:
            stem, dot, suffix = file_name.rpartition(".")
            path = self._join(f"{stem}-{version_id or len(self._paths)}{dot}{suffix}")
        self._paths.add(path)
        return path

    def _join(self, file_name: str) -> str:
        return f"{self.directory.rstrip('/')}/{file_name}" if self.directory else file_name


class _Draft:
    """The fields of one adapter while they are decided."""

    def __init__(self, builder: DraftBuilder, statements: Sequence[Statement], weight: WeightFacts | None) -> None:
        self.builder = builder
        self.statements = statements
        self.users = sorted(
            (item for item in statements if not item.record.user.is_empty()), key=lambda item: item.user_rank
        )
        self.models = [(item.record.model, item.source.path) for item in statements]
        self.versions = [
            (item.record.version, item.source.path) for item in statements if item.record.version is not None
        ]
        self.weight = weight
        self.header = weight.header if weight is not None else None
        self.provenance: dict[str, str] = {}

    # Choosing: the first statement that is not empty, with its source.

    def model(self, field: str, attribute: str) -> Any:
        for model, path in self.models:
            value = getattr(model, attribute)
            if value or _is_stated(value):
                self.provenance.setdefault(field, path)
                return value
        return None

    def version(self, field: str, attribute: str) -> Any:
        for version, path in self.versions:
            value = getattr(version, attribute)
            if value or _is_stated(value):
                self.provenance.setdefault(field, path)
                return value
        return None

    def user(self, field: str, attribute: str) -> Any:
        for item in self.users:
            value = getattr(item.record.user, attribute)
            if value is not None and value != ():
                self.provenance[field] = item.source.path
                return value
        return None

    def from_header(self, field: str, value: Value | None) -> Value | None:
        if value is not None and value not in ("", [], {}):
            self.provenance.setdefault(field, HEADER)
            return value
        return None

    def from_file(self, field: str, value: Value | None) -> Value | None:
        if value is not None:
            self.provenance.setdefault(field, FILE)
        return value

    def finish(
        self, source_key: str, file_path: str | None, file_state: FileState, *, beside_documents: bool
    ) -> AdapterDraft:
        """Decide every field that something is stated of."""
        original_name = self._name()
        name = names.clean_name(original_name) or "unnamed"
        version = self._version_name()
        description, description_text = self._description()
        tags = self._tags()
        trained_words = self._trained_words()
        base_model = self._base_model()
        file = self._file()
        version_id = self.version("civitai_version_id", "civitai_id")
        stats = self._stats()
        downloads, likes, rating = values.community(stats)
        extra = self._extra(original_name if name != original_name.strip() else None)
        if file_path is not None:
            file_path = self.builder.take_path(file_path)
        elif file.name is not None and (stated := names.base_name(file.name)) is not None:
            file_path = self.builder.remote_path(stated, version_id)
        elif beside_documents:
            file_path = self.builder.sibling_path()
        else:
            file_path = self.builder.remote_path(names.file_name_for(name, version), version_id)
        primary = self.statements[0].source if self.statements else None
        level, examples = self._nsfw_level(), self._examples()
        draft = AdapterDraft(
            source_key=source_key,
            name=name,
            version=version,
            canonical_version_name=names.canonical_version(version),
            description=description,
            description_text=description_text,
            author_username=self._author(),
            visibility=self._visibility(),
            published_at=self.version("published_at", "published_at"),
            tags=list(tags),
            trained_words=list(trained_words),
            triggers=list(names.triggers(trained_words)),
            activation_text=self._activation_text(trained_words),
            negative_text=self.user("negative_text", "negative_text"),
            notes=self._notes(),
            weight=self.user("weight", "preferred_weight"),
            favorite=self.user("favorite", "favorite"),
            file_path=file_path,
            file_state=file_state,
            base_model=base_model,
            sd_version=self._sd_version(base_model),
            primary_file_name=file.name or self.from_file("primary_file_name", self._measured_name()),
            primary_file_size_kb=self._size_kb(file),
            primary_file_sha256=self._sha256(file),
            primary_file_download_url=file.download_url or self.version("primary_file_download_url", "download_url"),
            primary_file_local_path=self.weight.path if self.weight is not None else None,
            supports_generation=self._supports_generation(),
            nsfw_level=level,
            nsfw=self.model("nsfw", "nsfw"),
            civitai_model_id=self.model("civitai_model_id", "civitai_id"),
            civitai_version_id=version_id,
            downloads=downloads,
            likes=likes,
            rating=rating,
            stats=stats,
            licence=self._licence(),
            extra=extra,
            json_file_path=primary.path if primary is not None else None,
            json_file_mtime=_moment(primary.mtime_ns) if primary is not None else None,
            json_file_size=primary.size if primary is not None else None,
            examples=examples,
            identity=self._identity(name, version_id) if examples else None,
            provenance=self.provenance,
        )
        self._explain_derived(draft)
        return draft

    def _explain_derived(self, draft: AdapterDraft) -> None:
        """Fields computed from another one come from where that one came from."""
        for field, origin in _DERIVED_FROM.items():
            if origin in self.provenance and getattr(draft, field) not in (None, []):
                self.provenance.setdefault(field, self.provenance[origin])

    def _name(self) -> str:
        name: str | None = self.user("name", "title") or self.model("name", "name")
        if name is None and self.header is not None:
            name = self.from_header("name", self.header.title)
        if name is None or not names.strip_invisible(name).strip():
            self.provenance["name"] = FILE
            return self.builder.stem
        return name

    def _version_name(self) -> str | None:
        name: str | None = self.version("version", "name")
        if name is None:
            return None
        return names.strip_invisible(name).replace("\n", " ").strip()[: names.MAX_VERSION] or None

    def _description(self) -> tuple[str | None, str | None]:
        parts = [
            self._first_described("description", self._model_descriptions()),
            self._first_described("version_description", self._version_descriptions()),
        ]
        found = [part for part in parts if part is not None]
        if not found and self.header is not None and self.header.description:
            html, text = self.builder.describe(self.header.description, plain=True)
            if text is not None:
                self.provenance["description"] = HEADER
                return html, text
        if not found:
            return None, None
        if len(found) == 2 and found[0][1] == found[1][1]:
            found.pop()
        if "description" not in self.provenance:
            self.provenance["description"] = self.provenance["version_description"]
        return "\n".join(html for html, _ in found), "\n\n".join(text for _, text in found)

    def _model_descriptions(self) -> Iterable[tuple[str, str, bool]]:
        for item in self.statements:
            if item.record.model.description:
                yield item.record.model.description, item.source.path, not item.is_civitai
        for item in self.users:
            if item.record.user.description:
                yield item.record.user.description, item.source.path, True

    def _version_descriptions(self) -> Iterable[tuple[str, str, bool]]:
        for item in self.statements:
            version = item.record.version
            if version is not None and version.description:
                yield version.description, item.source.path, not item.is_civitai

    def _first_described(self, field: str, candidates: Iterable[tuple[str, str, bool]]) -> tuple[str, str] | None:
        """The first description that holds any text: an empty paragraph is as good as none."""
        for stated, path, plain in candidates:
            html, text = self.builder.describe(stated, plain=plain)
            if html is not None and text is not None:
                self.provenance[field] = path
                return html, text
        return None

    def _author(self) -> str | None:
        author: str | None = self.model("author_username", "author")
        if author is None and self.header is not None:
            author = self.from_header("author_username", self.header.author)
        return author.strip()[:_MAX_AUTHOR] if author is not None else None

    def _tags(self) -> tuple[str, ...]:
        own: tuple[str, ...] = self.user("tags", "tags") or ()
        stated: tuple[str, ...] = self.model("tags", "tags") or ()
        if not own and not stated and self.header is not None:
            stated = tuple(self.from_header("tags", self.header.modelspec_tags) or ())
        cleaned = (names.strip_invisible(tag).strip()[: names.MAX_TAG] for tag in (*own, *stated)[:_MAX_TAGS])
        return unique(tag for tag in cleaned if tag)

    def _trained_words(self) -> tuple[str, ...]:
        stated: tuple[str, ...] | None = self.version("trained_words", "trained_words")
        if stated is None:
            text: str | None = self.user("trained_words", "activation_text")
            stated = names.trigger_groups(text) if text is not None else None
        if stated is None and self.header is not None:
            stated = phrases(self.from_header("trained_words", self.header.trigger_phrase))
        groups = (stated or ())[: names.MAX_GROUPS]
        cleaned = (names.strip_invisible(word[: names.MAX_GROUP]).strip() for word in groups)
        return unique(word for word in cleaned if word)

    def _activation_text(self, trained_words: tuple[str, ...]) -> str | None:
        text: str | None = self.user("activation_text", "activation_text")
        groups = names.trigger_groups(text) if text is not None else ()
        if groups:
            return groups[0].strip()
        first = names.first_group(trained_words)
        if first is not None:
            self.provenance["activation_text"] = self.provenance["trained_words"]
        return first

    def _notes(self) -> str | None:
        notes: str | None = self.user("notes", "notes")
        if notes is None and self.header is not None:
            notes = self.from_header("notes", self.header.usage_hint)
        return notes

    def _visibility(self) -> str:
        stated: str | None = self.version("visibility", "availability") or self.model("visibility", "availability")
        return stated.strip()[:_MAX_VISIBILITY] if stated is not None else "Public"

    def _base_model(self) -> str | None:
        for version, path in self.versions:
            stated = version.base_model
            if stated is not None and stated.strip().casefold() != "unknown":
                self.provenance["base_model"] = path
                return stated.strip()[:_MAX_BASE_MODEL]
        if self.header is not None:
            return self.from_header("base_model", self.header.base_model)
        return None

    def _sd_version(self, base_model: str | None) -> str | None:
        chosen: str | None = self.user("sd_version", "sd_version")
        result = values.sd_version(chosen, base_model)
        if result is None:
            self.provenance.pop("sd_version", None)
        elif values.sd_version(chosen, None) is None and base_model is not None:
            self.provenance["sd_version"] = self.provenance["base_model"]
        return result

    def _file(self) -> FileClaim:
        """The version's file, each of its facts from the best source that states it."""
        name = size = sha256 = url = None
        listed = 0
        for version, path in self.versions:
            listed += len([file for file in version.files if file.name is not None])
            file = choose_file(version.files, self.weight)
            if file is None:
                continue
            name = name or self._taken("primary_file_name", file.name, path)
            size = size or self._taken("primary_file_size_kb", file.size_kb, path)
            sha256 = sha256 or self._taken("primary_file_sha256", file.hashes.get("sha256"), path)
            url = url or self._taken("primary_file_download_url", file.download_url, path)
        if name is None and listed:
            self._note_no_weight_file()
        return FileClaim(name=name, size_kb=size, hashes={"sha256": sha256} if sha256 else {}, download_url=url)

    def _taken(self, field: str, value: Value | None, path: str) -> Value | None:
        if value is not None:
            self.provenance.setdefault(field, path)
        return value

    def _note_no_weight_file(self) -> None:
        path = self.statements[0].source.path
        label = self.versions[0][0].name or "a version without a name"
        self.builder.findings.append(
            Finding(
                code=FindingCode.NO_WEIGHT_FILE_CLAIMED,
                severity=Severity.INFO,
                path=path,
                message=(
                    f"{path} lists files for the version {label}, but none of them is a weight file (training data, "
                    "an archive or a configuration only). The adapter is listed without a file to download."
                ),
                data={"version": label},
            )
        )

    def _measured_name(self) -> str | None:
        return self.weight.file_name if self.weight is not None else None

    def _size_kb(self, file: FileClaim) -> float | None:
        if file.size_kb is not None:
            return file.size_kb
        return self.from_file("primary_file_size_kb", self.weight.size / 1024) if self.weight is not None else None

    def _sha256(self, file: FileClaim) -> str | None:
        if "sha256" in file.hashes:
            return file.hashes["sha256"]
        return self.from_file("primary_file_sha256", self.weight.sha256) if self.weight is not None else None

    def _supports_generation(self) -> bool:
        stated: bool | None = self.version("supports_generation", "supports_generation")
        if stated is None:
            stated = self.model("supports_generation", "supports_generation")
        return stated is True

    def _examples(self) -> list[Example]:
        return list(self.version("examples", "examples") or ())

    def _identity(self, name: str, version_id: int | None) -> Identity:
        claims = [file for version, _ in self.versions for file in version.files if is_weight_claim(file)]
        files = [file.name for file in claims if file.name is not None]
        hashes = [digest for file in claims for kind, digest in file.hashes.items() if kind != "crc32"]
        if self.weight is not None:
            files.append(self.weight.file_name)
            hashes.extend(digest for digest in (self.weight.sha256, self.weight.autov3) if digest is not None)
        return Identity(name=name, files=files, hashes=hashes, version_id=version_id)

    def _nsfw_level(self) -> int:
        """The stated mask; in documents older than masks, the levels of the images together, as Civitai computes it."""
        stated: int | None = self.version("nsfw_level", "nsfw_level")
        if stated is None:
            stated = self.model("nsfw_level", "nsfw_level")
        if stated is not None:
            return min(stated, values.NSFW_MASK)
        examples: tuple[Example, ...] = self.version("nsfw_level", "examples") or ()
        level = 0
        for example in examples:
            level |= example.nsfw_level or 0
        if not level:
            self.provenance.pop("nsfw_level", None)
        return level

    def _stats(self) -> JsonObject:
        """The model's numbers, overlaid by those of the version itself."""
        own: JsonObject = self.version("stats", "stats") or {}
        return {**(self.model("stats", "stats") or {}), **own}

    def _licence(self) -> JsonObject | None:
        result: JsonObject = {
            "allow_no_credit": None,
            "allow_commercial_use": None,
            "allow_derivatives": None,
            "allow_different_license": None,
            "text": None,
        }
        for model, path in self.models:
            for key in result:
                value = getattr(model.licence, key)
                if result[key] is None and value is not None:
                    result[key] = list(value) if isinstance(value, tuple) else value
                    self.provenance.setdefault("licence", path)
        if result["text"] is None and self.header is not None:
            result["text"] = self.from_header("licence", self.header.license)
        return result if any(value is not None for value in result.values()) else None

    def _extra(self, original_name: str | None) -> JsonObject:
        extra: JsonObject = {}
        for item in self.statements:
            record = item.record
            stated = [record.extra, record.model.extra]
            if record.version is not None:
                stated.append(record.version.extra)
            for keys in stated:
                for key, value in keys.items():
                    extra.setdefault(key, value)
        model_type = self.model("model_type", "type")
        if model_type is not None:
            extra.setdefault("model_type", model_type)
        if self.header is not None:
            extra.update(training_facts(self.header))
        if original_name is not None:
            # A file name of broken bytes holds what no database stores; it is spelled out.
            extra["original_name"] = original_name.encode("utf-8", "backslashreplace").decode()
        return extra


def _is_stated(value: Any) -> bool:
    """Whether a value says anything: zero and false do, an empty list or object does not."""
    return value is not None and value != () and value != {}


def _moment(mtime_ns: int) -> datetime | None:
    """A file's time as a moment; None where the file system holds one outside the calendar."""
    try:
        return _EPOCH + timedelta(microseconds=mtime_ns // 1000)
    except OverflowError:
        return None


def assess(draft: AdapterDraft) -> None:
    """Add to a draft what follows from its fields. Nobody else has it yet, and a copy of its 45 fields costs more."""
    archetype, confidence = classify(
        Evidence(
            name=draft.name,
            version=draft.version,
            tags=tuple(draft.tags),
            trained_words=tuple(draft.trained_words),
            description=draft.description_text,
            training_tags=tuple(draft.extra.get("training_tags", ())),
        )
    )
    force_setattr(draft, "archetype", archetype)
    force_setattr(draft, "archetype_confidence", confidence)
    if draft.identity is not None:
        force_setattr(draft, "strengths", strengths_of(draft.examples, draft.identity))
    force_setattr(draft, "content_digest", _content_digest(draft))


def _content_digest(draft: AdapterDraft) -> str:
    content = Content(
        name=draft.name,
        version=draft.version,
        description_text=draft.description_text,
        author_username=draft.author_username,
        tags=draft.tags,
        trained_words=draft.trained_words,
        triggers=draft.triggers,
        activation_text=draft.activation_text,
        archetype=draft.archetype,
        base_model=draft.base_model,
        sd_version=draft.sd_version,
        prompts=[item.prompt for item in draft.examples],
        facts=[draft.extra.get(key) for key in FACTS],
    )
    return content_digest(content)
