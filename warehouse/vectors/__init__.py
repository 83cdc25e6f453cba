"""Vectors of adapters: what is embedded, by which model, how the vectors are kept, indexed and searched.

Belongs here: everything between an adapter's facts and the similarity of two adapters. Does not: lexical evidence,
boosts and explanations (`serving`), and when anything of this runs (`pipelines`). torch, faiss and onnxruntime are
imported inside the functions that use them, so that importing this package costs nothing.
"""
