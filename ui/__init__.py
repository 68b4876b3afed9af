"""The web page: the only package that imports gradio."""

import os

# Gradio reads this when it is imported and reports usage to its makers unless it is off.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"

from ui.page import build
from ui.server import make_server, serve

__all__ = ["build", "make_server", "serve"]
