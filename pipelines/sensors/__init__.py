"""The sensors, named `<what>_watch`; all run from the start. Each tick is cheap: no folder is walked, no file read.

They are imported one by one, since two code locations share this folder. What happens by the clock belongs to
`schedules`.
"""
