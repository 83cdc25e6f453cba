"""ComfyUI: graphs of nodes, submitted and followed by id."""
