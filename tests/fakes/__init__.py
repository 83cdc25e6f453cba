"""Named fakes of servers that cannot run here, each written from what the real one was seen to do.

Does not belong here: stand-ins for our own code, of which there are none.
"""
