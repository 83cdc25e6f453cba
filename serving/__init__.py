"""How the data is asked for: the REST API, the web page and the command line, answered from materialized tables.

Does not belong here: how rows are derived (`warehouse`) and how runs are made (`pipelines`, which is never imported).
"""
