"""What happens to jobs, told as it happens: over WebSockets and as Server-Sent Events, from the rows of events.

Belongs here: following the rows once per process, and handing them to any number of listeners without one of them
holding up the others. Does not: what changes jobs (`warehouse.jobs`) and the routes (`serving.routers.live`).
"""

from serving.live.hub import Hub
from serving.live.listener import Listener, TooSlowError
from serving.live.texts import Room, Texts

__all__ = ["Hub", "Listener", "Room", "Texts", "TooSlowError"]
