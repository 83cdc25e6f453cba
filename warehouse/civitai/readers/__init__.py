"""Readers: one module per format, each turning a decoded JSON object into typed records.

A reader states what its document says and complains about what it cannot take. It decides nothing between sources.
"""
