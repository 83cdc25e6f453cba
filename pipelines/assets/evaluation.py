"""`evaluation/recommendations`: how often the prompt of an example image finds the adapter that made the image."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
from pydantic import Field

from pipelines import previews
from pipelines.keys import EVALUATION, INDEX, LEXICAL_INDEX
from pipelines.policies import GPU_POOL, RETRY
from pipelines.resources import Warehouse
from pipelines.stages import metadata_of, stage
from warehouse.evaluation.evaluating import Report, evaluate
from warehouse.evaluation.metrics import Measure
from warehouse.evaluation.questions import Part, Variant
from warehouse.evaluation.rankers import BASELINES, OURS
from warehouse.ingest.report import StageReport

LEADS_CHECK = "leaves_the_baselines_behind"


class EvaluationConfig(dg.Config):
    """What is asked."""

    queries: int = Field(default=500, ge=1, le=100_000, description="Prompts that are asked, at most.")
    seed: int = Field(default=0, description="The same seed asks the same prompts.")
    part: Part = Field(
        default=Part.MEASURED,
        description="Whose prompts are asked: of the half of the models that weights and encoders are judged by, of "
        "the half that they are learned from, or of all.",
    )


@dg.asset(
    key=EVALUATION,
    deps=[INDEX, LEXICAL_INDEX],
    group_name="evaluation",
    kinds={"table"},
    code_version="1",
    retry_policy=RETRY,
    pool=GPU_POOL,
    check_specs=[
        dg.AssetCheckSpec(
            LEADS_CHECK,
            asset=EVALUATION,
            description="Recall@10 of what is recommended against that of an embedding and of BM25, with the prompts "
            "as they were written and without the trigger words.",
        )
    ],
    description="The prompts of example images, held out of the search, asked in every way to answer: as is "
    "recommended, by its parts, and by three baselines, each with its 95 % interval. No part of a sync: started by the "
    "job evaluate_recommendations; `lora-manager evaluate` prints the same.",
)
def recommendations(
    context: dg.AssetExecutionContext, config: EvaluationConfig, warehouse: dg.ResourceParam[Warehouse]
) -> Iterator[dg.MaterializeResult[None]]:
    """Ask the library its own example prompts."""
    with stage(context, warehouse):
        report = evaluate(
            warehouse.database,
            warehouse.settings,
            count=config.queries,
            seed=config.seed,
            part=config.part,
            progress=warehouse.progress(context, "Evaluating recommendations"),
        )
    yield dg.MaterializeResult(metadata=_metadata(report), check_results=[_check(report)])


def _metadata(report: Report) -> Mapping[str, Any]:
    counted = StageReport(rows=report.queries, changed=0, skipped=0, rejected=0, seconds=report.seconds)
    ours = report.figures[OURS]
    more: dict[str, Any] = {
        "models": report.models,
        "adapters": report.adapters,
        # Numbers of their own, so that Dagster draws them over time.
        "recall@10": ours[Variant.WRITTEN].recall_at_10.value,
        "recall@10 without trigger words": ours[Variant.WITHOUT_TRIGGERS].recall_at_10.value,
    }
    if report.quality_correlation is not None:
        more["correlation with the quality score"] = report.quality_correlation
    return metadata_of(counted, previews.table(_rows(report)), **more)


def _rows(report: Report) -> list[dict[str, object]]:
    return [
        {
            "way to answer": way,
            "prompt": variant.value,
            "recall@1": _cell(figures.recall_at_1),
            "recall@10": _cell(figures.recall_at_10),
            "MRR": _cell(figures.mrr),
            "nDCG@10": _cell(figures.ndcg_at_10),
        }
        for way, variants in report.figures.items()
        for variant, figures in variants.items()
    ]


def _cell(measure: Measure) -> str:
    return f"{measure.value:.3f} ({measure.low:.3f} to {measure.high:.3f})"


def _check(report: Report) -> dg.AssetCheckResult:
    """Whether no baseline finds more; one that does warns, for nothing is published by this asset."""
    ahead = [
        f"{baseline} ({variant.value}): {theirs:.3f} against {ours:.3f}"
        for variant, figures in report.figures[OURS].items()
        for baseline in BASELINES
        if (theirs := report.figures[baseline][variant].recall_at_10.value) > (ours := figures.recall_at_10.value)
    ]
    found = report.figures[OURS][Variant.WRITTEN].recall_at_10
    return dg.AssetCheckResult(
        check_name=LEADS_CHECK,
        passed=not ahead,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join(ahead) or f"recall@10 {found} of {report.queries:,} prompts.",
        metadata={"recall@10": found.value, "queries": report.queries},
    )


EVALUATIONS = [recommendations]
"""The assets of evaluations."""
