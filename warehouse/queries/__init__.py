"""Read statements per noun, for the API and the command line.

Belongs here: what is asked of the tables, with typed results, each statement served by an index.
Does not: statements that derive or change rows (they stand beside the functions that do), and how an answer looks.
"""
