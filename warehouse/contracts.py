"""What `pipelines` and `serving` agree on: names of jobs, asset keys, run configuration and run tags.

Neither imports the other, so every name that both write or read stands here, as plain strings: Dagster serialises no
enumeration of ours. Does not belong here: anything of Dagster (run configuration is plain data) and anything that
only one of the two needs.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

AssetPath = tuple[str, ...]
"""An asset key: the address of what it stands for."""

LIBRARY_FILES: AssetPath = ("library", "files")
DOCUMENTS: AssetPath = ("catalog", "documents")
ADAPTERS: AssetPath = ("catalog", "adapters")
INSPECTIONS: AssetPath = ("catalog", "inspections")
VECTORS = "vectors"
"""Prefix of the assets of the embedding spaces: `vectors/<space>`."""
ENCODER: AssetPath = ("encoders", "prompts")
INDEX: AssetPath = ("indices", "recommend")
LEXICAL_INDEX: AssetPath = ("indices", "lexical")
EVALUATION: AssetPath = ("evaluation", "recommendations")
PAIRS: AssetPath = ("use", "pairs")
PROFILES: AssetPath = ("use", "profiles")
NEAR_DUPLICATES: AssetPath = ("vectors", "near_duplicates")
MARTS = "marts"
"""Prefix of the published tables: `marts/<name>`."""
ANALYTICS: AssetPath = ("marts", "analytics")
SYNCED_KINDS = tuple("/".join(path) for path in (INDEX, LEXICAL_INDEX, ANALYTICS))
"""The kinds of generations that a sync publishes."""
PUBLISHED_KINDS = ("/".join(ENCODER), *SYNCED_KINDS)
"""The kinds of generations that assets publish."""

CODE_LOCATION = "pipelines.definitions"
"""Name of the code location, as `workspace.yaml` and the GraphQL API have it."""
DELIVERY_LOCATION = "pipelines.delivery_definitions"
"""The code location of the lanes, apart because a request waits for its import."""
REPOSITORY = "__repository__"
"""Dagster's name for the only repository of a location that is one `Definitions` object."""


class Job:
    """The jobs of the code location."""

    SYNC_LIBRARY: Final = "sync_library"
    REFRESH_VECTORS: Final = "refresh_vectors"
    REFRESH_MARTS: Final = "refresh_marts"
    LEARN_FROM_USE: Final = "learn_from_use"
    TUNE_ENCODER: Final = "tune_encoder"
    EVALUATE: Final = "evaluate_recommendations"
    PRUNE_HISTORY: Final = "prune_history"
    BACK_UP: Final = "back_up"

    ALL: Final = (
        SYNC_LIBRARY,
        REFRESH_VECTORS,
        REFRESH_MARTS,
        LEARN_FROM_USE,
        TUNE_ENCODER,
        EVALUATE,
        PRUNE_HISTORY,
        BACK_UP,
    )


class LaneJob:
    """The jobs of the code location of the lanes; each works on the lane of its configuration."""

    DELIVER: Final = "deliver"
    GENERATE: Final = "generate"

    BY_KIND: Final = {"delivery": DELIVER, "generation": GENERATE}
    """By the kind of the lane's jobs."""


class Tag:
    """Tags of runs."""

    LANE: Final = "lora-manager/lane"
    """The lane that the run works on."""

    TRIGGER: Final = "lora-manager/trigger"
    """What asked for the run: one of `Trigger`. A run without it was asked for in Dagster's UI."""
    REQUEST: Final = "lora-manager/request"
    """The id of the HTTP request that asked for the run."""
    PROCESS: Final = ".dagster/lora-manager/process"
    """The process that executes the run, so that a run whose process died is found. Dagster's UI hides the prefix."""
    DEVICES: Final = "lora-manager/devices"
    """The accelerators that the run's process was bound to, where it was bound to some."""


class Trigger:
    """Values of the tag TRIGGER."""

    COMMAND: Final = "command"
    WATCH: Final = "watch"
    SCHEDULE: Final = "schedule"
    API: Final = "api"


class Metadata:
    """The metadata keys that every materialization carries."""

    ROWS: Final = "rows"
    CHANGED: Final = "changed"
    SKIPPED: Final = "skipped"
    REJECTED: Final = "rejected"
    SECONDS: Final = "seconds"
    PREVIEW: Final = "preview"


class ExitCode:
    """Exit codes of `python -m pipelines.run`, of sysexits.h where it has one."""

    OK: Final = 0
    FAILED: Final = 1
    USAGE: Final = 2
    TEMPORARY: Final = 75
    """Somebody else is at work on the library: the same command may succeed later."""
    CONFIGURATION: Final = 78
    INTERRUPTED: Final = 130


def op_name(key: AssetPath) -> str:
    """The name under which run configuration addresses an asset."""
    return "__".join(key)


def vector_key(space: str) -> AssetPath:
    """The asset of an embedding space."""
    return (VECTORS, space)


def mart_key(name: str) -> AssetPath:
    """The asset of a published table."""
    return (MARTS, name)


def sync_config(paths: Sequence[Path] = (), *, force: bool = False) -> Mapping[str, Any]:
    """Run configuration of `sync_library`: the folders to scan (none: all that are known) and whether to trust no
    watermark of a file."""
    return {"ops": {op_name(LIBRARY_FILES): {"config": {"paths": [str(path) for path in paths], "force": force}}}}


def vectors_config(
    spaces: Sequence[str], *, force: bool = False, adapter_ids: Sequence[str] | None = None
) -> Mapping[str, Any]:
    """Run configuration of `refresh_vectors`: whether vectors that are current are computed anew, and the only adapters
    to look at (None: all)."""
    wanted = {"force": force} if adapter_ids is None else {"force": force, "adapter_ids": list(adapter_ids)}
    return {"ops": {op_name(vector_key(space)): {"config": wanted} for space in spaces}}


def tuning_config(*, force: bool = False) -> Mapping[str, Any]:
    """Run configuration of `tune_encoder`: whether to tune also where nothing changed since the last time."""
    return {"ops": {op_name(ENCODER): {"config": {"force": force}}}}


LANE_OP = "work_on_lane"
"""The one step of a lane's job."""


def lane_config(lane: str) -> Mapping[str, Any]:
    """Run configuration of a lane's job."""
    return {"ops": {LANE_OP: {"config": {"lane": lane}}}}


def lane_tags(lane: str, trigger: str) -> Mapping[str, str]:
    """The tags of a lane's run. Should it die, it is not Dagster that starts another: who needs one does."""
    return {Tag.LANE: lane, Tag.TRIGGER: trigger, "dagster/priority": "10", "dagster/max_retries": "0"}
