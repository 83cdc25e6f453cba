"""`encoders/prompts`: the model that compares prompts with adapters, tuned on the library; published where it wins."""

from collections.abc import Iterator, Mapping
from typing import Any

import dagster as dg
from pydantic import Field

from pipelines import previews
from pipelines.keys import ADAPTERS, ENCODER, INSPECTIONS
from pipelines.policies import GPU_POOL, RETRY
from pipelines.resources import Warehouse
from pipelines.stages import Stopwatch, metadata_of, stage
from warehouse.ingest.report import StageReport
from warehouse.tuning import Comparison, Outcome, Plan, tune

WINS_CHECK = "wins_on_models_not_seen"
_PLAN = Plan()


class TuningConfig(dg.Config):
    """How long and how hard is trained."""

    epochs: float = Field(default=_PLAN.epochs, gt=0, description="How often each example prompt is learned from.")
    minutes: float = Field(default=_PLAN.minutes, gt=0, description="Training ends after so long at the latest.")
    batch: int = Field(default=_PLAN.batch, ge=8, le=4096, description="Adapters that a prompt is told apart from.")
    learning_rate: float = Field(default=_PLAN.learning_rate, gt=0, description="The highest rate, after warming up.")
    most_examples: int = Field(default=_PLAN.most_examples, ge=1, description="Example prompts that are learned from.")
    force: bool = Field(default=False, description="Tune also where nothing changed since the last time.")

    def plan(self) -> Plan:
        """The plan of a training."""
        return Plan(
            epochs=self.epochs,
            minutes=self.minutes,
            batch=self.batch,
            learning_rate=self.learning_rate,
            most_examples=self.most_examples,
        )


@dg.asset(
    key=ENCODER,
    deps=[ADAPTERS, INSPECTIONS],
    group_name="encoders",
    kinds={"pytorch", "file"},
    code_version="1",
    retry_policy=RETRY,
    pool=GPU_POOL,
    check_specs=[
        dg.AssetCheckSpec(
            WINS_CHECK,
            asset=ENCODER,
            description="Prompts of models that were not learned from, asked of the tuned model and of the one in use. "
            "What does not win is not published.",
        )
    ],
    description="The embedding model, tuned so that prompts of example images come near to the adapters that made "
    "them. Split by model: one half of the library is learned from, the other decides. No part of a sync: started by "
    "the job tune_encoder.",
)
def prompts(
    context: dg.AssetExecutionContext, config: TuningConfig, warehouse: dg.ResourceParam[Warehouse]
) -> Iterator[dg.MaterializeResult[None]]:
    """Tune the encoder, and publish it if it wins."""
    watch = Stopwatch()
    with stage(context, warehouse):
        outcome = tune(
            warehouse.database,
            warehouse.settings,
            config.plan(),
            progress=warehouse.progress(context, "Tuning the encoder"),
            force=config.force,
        )
    yield dg.MaterializeResult(metadata=_metadata(outcome, watch.seconds), check_results=[_check(outcome)])


def _metadata(outcome: Outcome, seconds: float) -> Mapping[str, Any]:
    trained, comparison = outcome.trained, outcome.comparison
    preview = previews.table(_figures(comparison)) if comparison is not None else "Nothing changed since the last time."
    report = StageReport(
        rows=outcome.examples, changed=int(outcome.is_new), skipped=int(not outcome.is_new), rejected=0, seconds=seconds
    )
    generation = outcome.published.name if outcome.published is not None else "none"
    more: dict[str, Any] = {"generation": generation}
    if trained is not None:
        more |= {"steps": trained.steps, "loss_before": trained.loss_before, "loss_after": trained.loss_after}
    return metadata_of(report, preview, **more)


def _figures(comparison: Comparison) -> list[dict[str, object]]:
    return [
        {
            "way to answer": way,
            "prompt": variant.value,
            "recall@10 in use": round(comparison.before[way][variant].value, 3),
            "recall@10 tuned": round(found.value, 3),
        }
        for way, variants in comparison.after.items()
        for variant, found in variants.items()
    ]


def _check(outcome: Outcome) -> dg.AssetCheckResult:
    """Whether the encoder in use is the best that is known: a tuning that did not win warns, and changes nothing."""
    comparison = outcome.comparison
    if comparison is None:
        return dg.AssetCheckResult(check_name=WINS_CHECK, passed=True, description="Nothing changed since it won.")
    gain = comparison.gain
    return dg.AssetCheckResult(
        check_name=WINS_CHECK,
        passed=comparison.wins,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"Reciprocal rank {gain.value:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}] over "
        f"{comparison.questions:,} prompts among {comparison.adapters:,} adapters: "
        + ("published." if comparison.wins else "not published, the one in use stays."),
        metadata={"gain": gain.value, "lowest": gain.low, "questions": comparison.questions},
    )


ENCODERS = [prompts]
"""The assets of encoders."""
