"""The jobs on the library: verbs over selections of assets.

Does not belong here: schedules and sensors that start them, and what the assets do.
"""

import dagster as dg

from pipelines.policies import ON_DEMAND
from pipelines.queues import ON_DEFAULT, ON_GPU
from warehouse.contracts import Job

sync_library = dg.define_asset_job(
    Job.SYNC_LIBRARY,
    selection=dg.AssetSelection.all() - dg.AssetSelection.groups(*ON_DEMAND),
    tags=ON_GPU,
    description="From the library folders to answers: scan, read, build, inspect, embed, index, publish. Does only "
    "what changed since the last time.",
)

refresh_vectors = dg.define_asset_job(
    Job.REFRESH_VECTORS,
    selection=dg.AssetSelection.groups("vectors", "indices"),
    tags=ON_GPU,
    description="Compute the vectors that are missing or out of date and publish a new index. For a new embedding "
    "model, or after many edits.",
)

tune_encoder = dg.define_asset_job(
    Job.TUNE_ENCODER,
    selection=dg.AssetSelection.groups("encoders", "vectors", "indices"),
    tags=ON_GPU,
    description="Tune the model of prompts on the library's own example prompts, and where it wins on models that it "
    "has not seen, embed the library with it. An hour on a CPU, minutes on a GPU.",
)

evaluate_recommendations = dg.define_asset_job(
    Job.EVALUATE,
    selection=dg.AssetSelection.groups("evaluation"),
    tags=ON_GPU,
    description="Ask the library the prompts of its own example images, and show how often each way to answer finds "
    "the adapter that made the image. A minute for a thousand adapters; changes nothing.",
)

learn_from_use = dg.define_asset_job(
    Job.LEARN_FROM_USE,
    selection=dg.AssetSelection.groups("use"),
    tags=ON_DEFAULT,
    description="Learn from what was delivered and generated since the last time. Costs nothing where nothing was.",
)

refresh_marts = dg.define_asset_job(
    Job.REFRESH_MARTS,
    selection=dg.AssetSelection.groups("marts"),
    tags=ON_DEFAULT,
    description="Publish the tables for analysts as they are now.",
)
