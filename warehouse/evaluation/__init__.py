"""Measuring recommendations for prompts: example images of the library ask, and their adapters must be found.

`questions` makes the queries and says what must be held out for them, `rankers` answers them (as served, and three
baselines), `metrics` says how well, with intervals, `evaluating` puts a report together, `learning` fits the weights.

Does not belong here: the recommender itself (`warehouse.lexical`, `warehouse.vectors`), and how a report is shown.
"""
