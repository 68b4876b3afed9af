"""Theme: fonts, colours and styles of the page."""

from __future__ import annotations

from typing import Any

import gradio as gr

from ui.scripts import ASSETS

STYLES = ("page.css", "editor.css")
_SYSTEM_FONT = ("ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
_SYSTEM_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")


def looks() -> dict[str, Any]:
    """Build theme, styles and keys, as `launch` and `mount_gradio_app` take them."""
    theme = gr.themes.Base(
        primary_hue=gr.themes.colors.blue,
        neutral_hue=gr.themes.colors.zinc,
        radius_size=gr.themes.sizes.radius_sm,
        font=_SYSTEM_FONT,
        font_mono=_SYSTEM_MONO,
    ).set(
        # The base theme's grey is too pale to read on white.
        body_text_color_subdued="*neutral_500",
        body_text_color_subdued_dark="*neutral_400",
        block_info_text_color="*neutral_500",
        block_info_text_color_dark="*neutral_400",
        input_placeholder_color="*neutral_500",
        input_placeholder_color_dark="*neutral_400",
        block_label_text_color="*neutral_700",
        block_title_text_color="*neutral_700",
        button_primary_background_fill="*primary_600",
        button_primary_background_fill_hover="*primary_700",
        button_cancel_text_color="#b91c1c",
        button_cancel_text_color_dark="#fca5a5",
    )
    return {
        "theme": theme,
        "css": "\n".join((ASSETS / file).read_text(encoding="utf-8") for file in STYLES),
        "js": (ASSETS / "page.js").read_text(encoding="utf-8"),
    }
