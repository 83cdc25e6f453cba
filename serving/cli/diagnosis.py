"""What `doctor` looks at: one function per part of the system, each saying what it found and what to do about it.

Belongs here: looking, nothing but. A part that cannot be looked at is itself a result; no check ends the others.
"""

import os
import platform
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, requires, version
from typing import TYPE_CHECKING

from serving.cli.output import bytes_text
from serving.machine import LITTLE_DISK
from serving.version import VERSION

if TYPE_CHECKING:
    from warehouse.engine import Database
    from warehouse.settings import Settings
    from warehouse.storage import LibraryRoot

API_PORT = 8000
DAGSTER_PORT = 3000
LATE_BACKUP = timedelta(hours=36)
"""One is made every night; so old is the newest where a night was left out."""


class State(StrEnum):
    """How well something is."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Result:
    """One line of the report."""

    part: str
    state: State
    found: str
    remedy: str | None = None


def _python(_settings: "Settings") -> Iterator[Result]:
    found = f"{platform.python_version()} at {sys.executable}, {platform.platform(terse=True)}"
    yield Result("Python", State.OK, found)
    yield Result("LoRA Manager", State.OK, VERSION)


def _packages(_settings: "Settings") -> Iterator[Result]:
    from packaging.requirements import Requirement

    wanted = [Requirement(line) for line in requires("lora-manager-backend") or []]
    runtime = [each for each in wanted if each.marker is None or each.marker.evaluate({"extra": ""})]
    for requirement in runtime:
        try:
            installed = version(requirement.name)
        except PackageNotFoundError:
            yield Result(requirement.name, State.ERROR, "not installed", f"pip install '{requirement}'")
            continue
        if not requirement.specifier.contains(installed, prereleases=True):
            remedy = f"pip install '{requirement}'"
            yield Result(requirement.name, State.ERROR, f"{installed} is not {requirement.specifier}", remedy)
        else:
            yield Result(requirement.name, State.OK, installed)


def _devices(settings: "Settings") -> Iterator[Result]:
    from warehouse.vectors.devices import choose_device, detect_devices

    try:
        chosen = choose_device(settings.device)
    except LookupError as error:
        yield Result("device", State.ERROR, str(error), "LORA_MANAGER_DEVICE=auto")
        chosen = None
    for device in detect_devices():
        memory = f", {bytes_text(device.memory_bytes)}" if device.memory_bytes else ""
        used = ", used for embedding" if device == chosen else ""
        state = State.OK if device.usable else State.WARNING
        yield Result(f"device {device.kind}", state, f"{device.name}{memory}{used}", device.note)


def _weights(settings: "Settings") -> Iterator[Result]:
    from warehouse.vectors.encoders.protocol import EncoderError
    from warehouse.vectors.encoders.weights import MINILM_PACKAGE, find_model
    from warehouse.vectors.spaces import SPACES

    spaces: dict[str, list[str]] = {}
    for space in SPACES:
        spaces.setdefault(space.model_name(settings), []).append(space.name)
    for name, of in spaces.items():
        part = f"weights of {', '.join(of)}"
        try:
            model = find_model(name, offline=settings.offline)
        except EncoderError as error:
            yield Result(part, State.ERROR, str(error))
            continue
        proof = "as published" if MINILM_PACKAGE in model.path.parts else "digest noted, publisher's unknown"
        yield Result(part, State.OK, f"{name}, {proof} (SHA-256 {model.digest[:12]}…), {model.path}")


def _folder(settings: "Settings") -> Iterator[Result]:
    folder = settings.data_dir
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    state = State.OK if free > LITTLE_DISK else State.WARNING
    made = "" if folder.exists() else ", not made yet"
    remedy = None if state is State.OK else "free space: a publication that does not fit is not made"
    yield Result("data folder", state, f"{folder}{made}; {bytes_text(free)} free", remedy)


def look_at_roots(settings: "Settings") -> Iterator[Result]:
    """Whether the configured libraries can be read."""
    for root in settings.library_roots:
        yield _root(root, "LORA_MANAGER_LIBRARY_ROOTS", settings)


def _root(root: "LibraryRoot", source: str, settings: "Settings") -> Result:
    from warehouse.storage import ExtraMissingError, StoreUrl, bucket_of

    if isinstance(root, StoreUrl):
        try:
            bucket_of(root.bucket, settings.library_access).probe(root.prefix)
        except ExtraMissingError as error:
            return Result("library", State.ERROR, f"{root}: {error}", "pip install 'lora-manager-backend[s3]'")
        except OSError as error:
            remedy = f"see LORA_MANAGER_LIBRARY_S3_ENDPOINT and …_KEY, or take it out of {source}"
            return Result("library", State.ERROR, f"{root}: {error.strerror}", remedy)
        return Result("library", State.OK, f"{root} at {settings.library_s3_endpoint or 'AWS'}, can be listed")
    try:
        next(iter(root.iterdir()), None)
    except OSError as error:
        remedy = f"mount it, give this user the right to read it, or take it out of {source}"
        return Result("library", State.ERROR, f"{root}: {error.strerror}", remedy)
    return Result("library", State.OK, str(root))


def look_at_published_store(settings: "Settings") -> Iterator[Result]:
    """Whether the store of published files can be read. Whether it can be written to, a publication tells."""
    from warehouse.storage import ExtraMissingError, bucket_of

    place = settings.published_place
    if place is None:
        return
    try:
        bucket_of(place.bucket, settings.published_access).probe(place.prefix)
    except ExtraMissingError as error:
        yield Result("published files", State.ERROR, str(error), "pip install 'lora-manager-backend[s3]'")
    except OSError as error:
        remedy = "see LORA_MANAGER_PUBLISHED_S3_ENDPOINT and …_KEY: nothing is published while it cannot be reached"
        yield Result("published files", State.ERROR, f"{place}: {error.strerror}", remedy)
    else:
        found = f"{place} at {settings.published_s3_endpoint or 'AWS'}, can be listed"
        yield Result("published files", State.OK, found)


def _database(settings: "Settings") -> Iterator[Result]:
    from sqlalchemy import make_url

    from warehouse.engine import open_database
    from warehouse.migrations import head, revision_of
    from warehouse.queries.overview import registered_roots

    shown = make_url(settings.url).render_as_string(hide_password=True)
    file = settings.data_dir / "warehouse.sqlite3"
    if not settings.database_url and not file.exists():
        yield Result("database", State.WARNING, f"{shown}: not made yet", "lora-manager up")
        return
    database = open_database(settings)
    try:
        revision = revision_of(database)
        if revision != head():
            found = f"{shown} is at {revision or 'no revision'}, this version needs {head()}"
            yield Result("database", State.ERROR, found, "lora-manager upgrade")
            return
        size = "" if settings.database_url else f", {bytes_text(file.stat().st_size)}"
        yield Result("database", State.OK, f"{shown}, revision {revision}{size}")
        for root in registered_roots(database):
            if root not in settings.library_roots:
                yield _root(root, "the registered folders", settings)
    finally:
        database.dispose()


def _publications(settings: "Settings") -> Iterator[Result]:
    from warehouse.contracts import SYNCED_KINDS
    from warehouse.engine import open_database
    from warehouse.generations import current, is_whole
    from warehouse.published import InStore

    if not settings.database_url and not (settings.data_dir / "warehouse.sqlite3").exists():
        return
    database = open_database(settings)
    try:
        yield from _tuned_encoder(database, settings)
        for kind in SYNCED_KINDS:
            published = current(database, settings, kind)
            if published is None:
                yield Result(kind, State.WARNING, "never published", "lora-manager sync PATH")
            elif not published.path.is_dir() and InStore.of(published.manifest) is not None:
                found = f"{published.name} of {published.created_at:%Y-%m-%d %H:%M} UTC, in the store and not here yet"
                yield Result(kind, State.OK, found)
            elif not is_whole(published):
                found = f"the files of {published.name} are gone, or not as they were written"
                yield Result(kind, State.ERROR, found, "lora-manager sync PATH --force")
            else:
                yield Result(kind, State.OK, f"{published.name} of {published.created_at:%Y-%m-%d %H:%M} UTC")
    finally:
        database.dispose()


def _tuned_encoder(database: "Database", settings: "Settings") -> Iterator[Result]:
    from warehouse.vectors import tuned
    from warehouse.vectors.encoders.protocol import EncoderError
    from warehouse.vectors.encoders.weights import TUNED, find_model

    try:
        in_use = tuned.in_use(database, settings).embedding_model_artistic
        if in_use == settings.embedding_model_artistic:
            yield Result(TUNED, State.OK, "none in use: `python -m pipelines.run tune_encoder` makes one where it wins")
            return
        model = find_model(in_use, offline=settings.offline, generations=settings.generations_dir)
    except EncoderError as error:
        yield Result(TUNED, State.ERROR, str(error))
    else:
        yield Result(TUNED, State.OK, f"{in_use} (SHA-256 {model.digest[:12]}…)")


def _backups(settings: "Settings") -> Iterator[Result]:
    from warehouse.backup.retention import backups, made_at
    from warehouse.models import utc_now

    folder = settings.backup_dir
    if folder is None:
        yield Result("backups", State.OK, "none are made by themselves: LORA_MANAGER_BACKUP_DIR names no folder")
        return
    if not os.access(folder if folder.exists() else folder.parent, os.W_OK | os.X_OK):
        remedy = "mount it, or give this user the right to write to it"
        yield Result("backups", State.ERROR, f"{folder} cannot be written to", remedy)
        return
    newest = backups(folder)[-1:]
    if newest and utc_now() - made_at(newest[0]) < LATE_BACKUP:
        yield Result("backups", State.OK, str(newest[0]))
        return
    found = f"the newest is {newest[0]}" if newest else f"none in {folder} yet"
    yield Result("backups", State.WARNING, found, "keep the system running at night, or lora-manager backup PATH")


def _restorations(settings: "Settings") -> Iterator[Result]:
    from warehouse.backup.restoring import remains

    found = remains(settings)
    aside = ", ".join(str(path) for path in found.aside)
    kept = f"what was there before is in {aside}"
    if found.is_torn:
        said = f"one is under way, or was ended while it put things in place; {kept}"
        remedy = "where none is under way: lora-manager restore PATH --replace again, or move back what is aside"
        yield Result("restorations", State.ERROR, said, f"{remedy}; delete nothing before")
    elif found.unfinished:
        said = f"{found.unfinished[0]} is of one that is under way, or was ended{f'; {kept}' if aside else ''}"
        yield Result("restorations", State.WARNING, said, "where none is under way: the next one removes it, or do so")
    elif aside:
        yield Result("restorations", State.OK, f"{kept}: delete it when you are content")


def _ports(settings: "Settings") -> Iterator[Result]:
    from serving.cli.ports import is_free, listener
    from serving.cli.running import RunFolder

    running = RunFolder(settings.data_dir).running()
    if running:
        yield Result("system", State.OK, f"running at {running.get('url')}")
        return
    for port, option in ((API_PORT, "--port"), (DAGSTER_PORT, "--dagster-port")):
        if is_free("127.0.0.1", port):
            yield Result(f"port {port}", State.OK, "free")
        else:
            found = f"taken by {listener(port) or 'another process'}"
            yield Result(f"port {port}", State.WARNING, found, f"lora-manager up {option} …")


def _dagster(settings: "Settings") -> Iterator[Result]:
    configuration = settings.dagster_home / "dagster.yaml"
    if configuration.exists():
        yield Result("Dagster home", State.OK, str(settings.dagster_home))
    else:
        yield Result("Dagster home", State.WARNING, f"{settings.dagster_home}: not made yet", "lora-manager up")


def _workers(settings: "Settings") -> Iterator[Result]:
    if settings.run_launcher == "default":
        yield Result("runs", State.OK, "processes of Dagster's code servers")
        return
    try:
        from redis import Redis
        from redis.exceptions import RedisError
    except ImportError:
        yield Result(
            "runs", State.ERROR, "the extra celery is not installed", "pip install 'lora-manager-backend[celery]'"
        )
        return
    broker = Redis.from_url(settings.celery_broker_url.get_secret_value(), socket_timeout=5, socket_connect_timeout=5)
    try:
        broker.ping()
        yield Result("runs", State.OK, "Celery workers; Redis answers")
    except RedisError as error:
        yield Result("runs", State.ERROR, f"Redis: {error}", "start it, or correct LORA_MANAGER_CELERY_BROKER_URL")
    finally:
        broker.close()


def _access(settings: "Settings") -> Iterator[Result]:
    from serving.keys import today

    if not settings.api_keys:
        yield Result("API keys", State.OK, "none: the API serves this machine alone")
    for key in settings.api_keys:
        until = f", until {key.expires}" if key.expires is not None else ""
        if key.is_valid_on(today()):
            yield Result(f"API key {key.name}", State.OK, f"{key.role}{until}")
        else:
            yield Result(f"API key {key.name}", State.WARNING, f"{key.role}, expired{until}", "take it out")


PARTS: tuple[tuple[str, Callable[["Settings"], Iterator[Result]]], ...] = (
    ("Python", _python),
    ("packages", _packages),
    ("devices", _devices),
    ("weights", _weights),
    ("data folder", _folder),
    ("libraries", look_at_roots),
    ("published files", look_at_published_store),
    ("database", _database),
    ("publications", _publications),
    ("backups", _backups),
    ("restorations", _restorations),
    ("Dagster", _dagster),
    ("runs", _workers),
    ("ports", _ports),
    ("access", _access),
)


def diagnose(settings: "Settings") -> Iterator[Result]:
    """Look at every part, in the order in which a remedy of one may help the next."""
    from serving.cli.errors import explain

    for part, look in PARTS:
        try:
            yield from look(settings)
        except Exception as error:
            yield Result(part, State.ERROR, explain(error)[0])
