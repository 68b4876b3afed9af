"""Puts the tabs together. One file a tab; this one only composes them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import gradio as gr

from pipelines import Request, Studio
from ui.api import add_endpoints
from ui.comparison import SamplerComparison
from ui.controlnet import ControlNet
from ui.errors import shown
from ui.guidance import GuidanceSweep
from ui.memory_line import add_memory_line
from ui.run_tab import DIRECT, RunTab
from ui.settings import Update
from ui.sheet import SheetTab
from ui.text_to_image import TextToImage

ASSETS = Path(__file__).parent / "assets"
STYLES = ("page.css", "editor.css")
TITLE = "Contact Sheet"
TABS: dict[str, type[RunTab]] = {
    "Text to image": TextToImage,
    "Guidance": GuidanceSweep,
    "Samplers": SamplerComparison,
    "Sheet": SheetTab,
    "ControlNet": ControlNet,
}
TAGLINE = "Explore prompts side by side, on your own machine."
_SYSTEM_FONT = ("ui-sans-serif", "system-ui", "-apple-system", "Segoe UI", "Roboto", "sans-serif")
_SYSTEM_MONO = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")


def build(studio: Studio) -> gr.Blocks:
    """The page. Its look is in `looks`, which goes to whatever serves it."""
    page = gr.Blocks(title=TITLE, analytics_enabled=False, fill_width=True)
    with page:
        gr.HTML(
            f'<header class="cs-header"><h1>{TITLE}</h1><p>{TAGLINE}</p></header>',
            apply_default_css=False,
        )
        keepers = {kind: kind.keeper() for kind in TABS.values()}
        made: list[RunTab] = []
        with gr.Tabs() as tabs:
            for name, kind in TABS.items():
                with gr.Tab(name, id=kind.id):
                    made.append(kind(studio, keepers[kind]))
        for tab in made:
            page.load(
                tab.restore,
                tab.kept,
                [tab.view, tab.strip, *tab.filled],
                show_progress="hidden",
                api_visibility="private",
                queue=False,
            )
        _connect_sending(tabs, made)
        add_memory_line(studio)
        add_endpoints(studio)
    return page


def _connect_sending(tabs: gr.Tabs, made: Sequence[RunTab]) -> None:
    """A picture's settings, from any tab to the text-to-image tab, which comes to the front."""
    target = next(tab for tab in made if isinstance(tab, TextToImage))

    def send(event: gr.EventData) -> Update:
        with shown():
            filled = target.form.fill(Request.from_json(str(event.request)))
        return {tabs: gr.Tabs(selected=target.id), target.form["count"]: 1, **filled}

    for tab in made:
        if tab.sends:
            tab.view.send_to(send, None, [tabs, *target.form.outputs], **DIRECT)
    _connect_steering(tabs, made)


def _connect_steering(tabs: gr.Tabs, made: Sequence[RunTab]) -> None:
    """A picture, from any tab, as what steers on the ControlNet tab, which comes to the front."""
    target = next(tab for tab in made if isinstance(tab, ControlNet))

    def steer(values: Mapping[Any, Any], event: gr.EventData) -> Update:
        with shown():
            taken = target.take(values, str(event.run), int(event.cell))
        return {tabs: gr.Tabs(selected=target.id), **taken}

    for tab in made:
        tab.view.steer(
            steer, target.form.inputs, [tabs, *target.filled], preprocess=False, **DIRECT
        )


def looks() -> dict[str, Any]:
    """Theme, styles and keys, as `launch` and `mount_gradio_app` take them."""
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
