"""Scripts: reads the page's JavaScript and styles from `assets`."""

from __future__ import annotations

from pathlib import Path

ASSETS = Path(__file__).parent / "assets"


def script(*names: str) -> str:
    """Read a component's scripts, with the helpers they use before them."""
    return "\n".join(
        (ASSETS / file).read_text(encoding="utf-8") for file in ("elements.js", *names)
    )
