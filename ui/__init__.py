"""User interfaces: the web page, whose modules alone import gradio, and the command line."""

import os

# Gradio reads this when it is imported and reports usage to its makers unless it is off.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
