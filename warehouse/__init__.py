"""What the data is: tables, readers of users' files, vectors, marts, published generations.

Belongs here: every function that derives a row or a published file, whoever calls it.
Does not: Dagster (`pipelines`), HTTP (`serving`), and anything that imports torch, faiss or onnxruntime at import time.
"""
