"""How the data is made: Dagster assets, checks, jobs, sensors and schedules around functions of `warehouse`.

Does not belong here: rules about the data itself (`warehouse`) and HTTP (`serving`).
"""
