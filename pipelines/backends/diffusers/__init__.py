"""Generating with the library diffusers, in a process of its own beside the lane."""
