"""Routes, one noun per file: what is asked is checked here, answered from queries, and shown by the schemas.

Handlers that read the database are plain functions, which FastAPI runs in threads: that costs 0.04 ms a request
(`tests/benchmarks/api.py`), while a slow query in the event loop would hold up everybody.
"""
