"""Routes, one noun per file: what is asked is checked here, answered from queries, and shown by the schemas."""
