"""The command `lora-manager`: everything a person does with the system from a terminal.

Belongs here: reading arguments, showing answers, starting and watching processes. Does not belong here: what the
answers are made of (`warehouse`, `serving`). The pipelines are other processes to this package: they are started, never
imported. Whatever is heavy is imported inside the function that needs it, so that `--help` answers at once.
"""
