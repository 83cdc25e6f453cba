"""`indices/recommend` and `indices/lexical`: what recommendations search, by vectors and by words, as generations.

The index of vectors is published only when its recall is good enough.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg

from pipelines import previews
from pipelines.keys import ADAPTERS, INDEX, INSPECTIONS, LEXICAL_INDEX, SPACE_NAMES, vector_key
from pipelines.policies import GPU_POOL, RETRY
from pipelines.resources import Warehouse
from pipelines.stages import Stopwatch, metadata_of, stage
from warehouse.generations import Published, collect, current
from warehouse.ingest.report import StageReport
from warehouse.lexical.publishing import QualityFellError, publish_words
from warehouse.vectors.indices import RecallTooLowError, publish_index

RECALL_CHECK = "recall_at_10"
QUALITY_CHECK = "prompts_find_their_adapter"


def _recall_check(recalls: Mapping[str, float], floor: float) -> dg.AssetCheckResult:
    lowest = min(recalls.values(), default=1.0)
    return dg.AssetCheckResult(
        check_name=RECALL_CHECK,
        passed=lowest >= floor,
        description=f"Lowest recall@10 {lowest:.3f}, floor {floor:.3f}.",
        metadata={"floor": floor, "lowest": lowest, **{f"weights {name}": value for name, value in recalls.items()}},
    )


def _quality_check(manifest: Mapping[str, Any], *, passed: bool) -> dg.AssetCheckResult:
    quality = manifest["quality"]
    recall = quality["recall@10"]
    return dg.AssetCheckResult(
        check_name=QUALITY_CHECK,
        passed=passed,
        description=f"recall@10 {recall['value']:.3f} [{recall['low']:.3f}, {recall['high']:.3f}] of "
        f"{quality['queries']:,} prompts."
        if quality["queries"]
        else "No adapter has example prompts.",
        metadata={"recall@10": recall["value"], "queries": quality["queries"]},
    )


def _metadata(published: Published, *, changed: int, seconds: float, preview: str) -> Mapping[str, Any]:
    """What the asset page shows of a publication; `changed` is how many adapters were written for it."""
    rows = int(published.manifest["n"])
    report = StageReport(rows=rows, changed=changed, skipped=rows - changed, rejected=0, seconds=seconds)
    return metadata_of(
        report,
        preview,
        generation=published.name,
        path=dg.MetadataValue.path(str(published.path)),
        manifest=dg.MetadataValue.json(dict(published.manifest)),
    )


def _plain(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"of the index": key, "value": value} for key, value in manifest.items() if not isinstance(value, dict)]


def _preview(manifest: Mapping[str, Any]) -> str:
    recalls = [{"weights": name, "recall@10": value} for name, value in manifest["recall"].items()]
    return previews.join(previews.table(_plain(manifest)), previews.table(recalls))


@dg.asset(
    key=INDEX,
    deps=[vector_key(space) for space in SPACE_NAMES],
    group_name="indices",
    kinds={"faiss", "file"},
    code_version="1",
    retry_policy=RETRY,
    pool=GPU_POOL,
    check_specs=[
        dg.AssetCheckSpec(
            RECALL_CHECK,
            asset=INDEX,
            blocking=True,
            description="The ten nearest found by the index against those of an exact search, on a sample. Below the "
            "floor nothing is published: the generation before stays in use.",
        )
    ],
    description=f"One index over the concatenated vectors of {', '.join(SPACE_NAMES)}: built, "
    "measured against exact search, published as an immutable generation.",
)
def recommend(
    context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]:
    """Publish an index of the current vectors."""
    database, settings = warehouse.database, warehouse.settings
    watch = Stopwatch()
    refused: RecallTooLowError | None = None
    published: Published | None = None
    with stage(context, warehouse):
        before = current(database, settings, INDEX.to_user_string())
        try:
            published = publish_index(database, settings, progress=warehouse.progress(context, "Building the index"))
            collect(database, settings, INDEX.to_user_string())
        except RecallTooLowError as error:
            refused = error
    if refused is not None or published is None:
        assert refused is not None
        yield _recall_check(refused.recalls, settings.recall_floor)
        raise dg.Failure(str(refused), allow_retries=False) from refused
    is_new = before is None or before.pk != published.pk
    yield dg.MaterializeResult(
        metadata=_metadata(
            published,
            changed=int(published.manifest["n"]) if is_new else 0,
            seconds=watch.seconds,
            preview=_preview(published.manifest),
        ),
        check_results=[_recall_check(published.manifest["recall"], settings.recall_floor)],
    )


@dg.asset(
    key=LEXICAL_INDEX,
    deps=[ADAPTERS, INSPECTIONS],
    group_name="indices",
    kinds={"tantivy", "file"},
    code_version="1",
    retry_policy=RETRY,
    pool=GPU_POOL,
    check_specs=[
        dg.AssetCheckSpec(
            QUALITY_CHECK,
            asset=LEXICAL_INDEX,
            blocking=True,
            description="Prompts of a sample of adapters, asked of the index, with the adapters scored without them. "
            "Where they find their adapter much less often than before, nothing is published.",
        )
    ],
    description="The words of adapters and of their example prompts, in an inverted index: what finds the adapter that "
    "a prompt was written for. What changed since the last one is written beside what did not.",
)
def lexical(
    context: dg.AssetExecutionContext, warehouse: dg.ResourceParam[Warehouse]
) -> Iterator[dg.AssetCheckResult | dg.MaterializeResult[None]]:
    """Publish a word index of the adapters as they are now."""
    database, settings = warehouse.database, warehouse.settings
    kind = LEXICAL_INDEX.to_user_string()
    watch = Stopwatch()
    refused: QualityFellError | None = None
    published: Published | None = None
    with stage(context, warehouse):
        before = current(database, settings, kind)
        try:
            published = publish_words(database, settings, progress=warehouse.progress(context, "Indexing words"))
            collect(database, settings, kind)
        except QualityFellError as error:
            refused = error
    if refused is not None or published is None:
        assert refused is not None
        yield _quality_check(refused.manifest, passed=False)
        raise dg.Failure(str(refused), allow_retries=False) from refused
    is_new = before is None or before.pk != published.pk
    yield dg.MaterializeResult(
        metadata=_metadata(
            published,
            changed=int(published.manifest["written"]) if is_new else 0,
            seconds=watch.seconds,
            preview=previews.table(_plain(published.manifest)),
        ),
        check_results=[_quality_check(published.manifest, passed=True)],
    )
