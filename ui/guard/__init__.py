"""Guard: checks every request before Gradio or a route of ours sees it."""
