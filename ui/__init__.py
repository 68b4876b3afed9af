"""What people see: the web page (the only modules that import gradio) and the terminal."""

import os

# Gradio reads this when it is imported and reports usage to its makers unless it is off.
os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
