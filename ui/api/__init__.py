"""API: named endpoints for gradio_client."""
