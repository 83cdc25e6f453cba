"""Late re-ranking: the best candidates for a prompt, put in order by trees that were learned once.

Belongs here: what the trees look at (`features`), asking them (`trees`), and both together (`reranker`). Does not:
finding candidates (`warehouse.lexical`, `warehouse.vectors`), and learning the trees (`warehouse.tuning.reranker`).
"""
