"""ComfyUI: settings read out of the graph that made a picture."""
