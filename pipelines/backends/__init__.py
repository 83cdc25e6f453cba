"""The backends that come with the project, each behind an entry point of the group `lora_manager.backends`.

The protocol stands in `warehouse.backends`. The API loads these modules to check parameters, so they import no
Dagster, and at their top nothing that is heavy. Does not belong here: the life of a job (`pipelines.jobs.lanes`).
"""
