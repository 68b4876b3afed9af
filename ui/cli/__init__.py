"""Command line: options, commands and what they print. Imports no gradio."""
