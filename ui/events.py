"""Event options: how handlers of the page are connected."""

from __future__ import annotations

from typing import Any

QUIET: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
DIRECT: dict[str, Any] = {**QUIET, "queue": False}
"""Handlers that answer at once and wait for nobody."""
Update = dict[Any, Any]
"""Component to its new value or properties, as Gradio's handlers may return it."""
