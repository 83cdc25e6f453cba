"""Changing the catalog by hand: what a client may do to adapters, each change one transaction with its audit.

Belongs here: registering, editing, activating, tagging, deleting; what follows from an adapter's values. Does not: what
a sync derives (`warehouse.ingest`), read statements (`warehouse.queries`), HTTP.
"""
