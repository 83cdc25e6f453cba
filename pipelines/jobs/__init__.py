"""The jobs: what a person or a sensor asks for by one name.

`library`, `upkeep` and `backup` are jobs on assets, history and all of it, of the code location
`pipelines.definitions`;
`runs` are those of the lanes, of `pipelines.delivery_definitions`. They are imported one by one: a lane's run needs
nothing of the others.
Does not belong here: schedules and sensors that start them.
"""
