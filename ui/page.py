"""Page: composes the tabs, each of which has its own file."""

from __future__ import annotations

from collections.abc import Sequence

import gradio as gr

from pipelines import Request, Studio
from ui.api.endpoints import add_endpoints
from ui.blocks import CheckedBlocks
from ui.errors import shown
from ui.events import DIRECT, RAW, PictureEvent, SettingsEvent, Update, Values
from ui.memory_status import add_memory_line
from ui.tabs.controlnet import ControlNet
from ui.tabs.guidance import GuidanceSweep
from ui.tabs.run_tab import RunTab
from ui.tabs.samplers import SamplerComparison
from ui.tabs.sheet import SheetTab
from ui.tabs.text_to_image import TextToImage

TITLE = "Contact Sheet"
TABS: dict[str, type[RunTab]] = {
    "Text to image": TextToImage,
    "Guidance": GuidanceSweep,
    "Samplers": SamplerComparison,
    "Sheet": SheetTab,
    "ControlNet": ControlNet,
}
TAGLINE = "Explore prompts side by side, on your own machine."


def build(studio: Studio) -> gr.Blocks:
    """Build the page. Its look is in `looks`, which goes to whatever serves it."""
    page = CheckedBlocks(title=TITLE, analytics_enabled=False, fill_width=True)
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
                **DIRECT,
            )
        _connect_sending(tabs, made)
        add_memory_line(studio)
        add_endpoints(studio)
    return page


def _connect_sending(tabs: gr.Tabs, made: Sequence[RunTab]) -> None:
    """Send a picture's settings from any tab to the text-to-image tab, and open that."""
    target = next(tab for tab in made if isinstance(tab, TextToImage))

    def send(event: SettingsEvent) -> Update:
        with shown():
            filled = target.form.fill(Request.from_json(event.request))
        return {tabs: gr.Tabs(selected=target.id), target.form["count"]: 1, **filled}

    for tab in made:
        if tab.sends:
            tab.view.send_to(send, None, [tabs, *target.form.outputs], **DIRECT)
    _connect_steering(tabs, made)


def _connect_steering(tabs: gr.Tabs, made: Sequence[RunTab]) -> None:
    """Send a picture from any tab to the ControlNet tab as its source, and open that."""
    target = next(tab for tab in made if isinstance(tab, ControlNet))

    def steer(values: Values, event: PictureEvent) -> Update:
        with shown():
            taken = target.take(values, event.run, event.cell)
        return {tabs: gr.Tabs(selected=target.id), **taken}

    for tab in made:
        tab.view.steer(steer, target.form.inputs, [tabs, *target.filled], **RAW)
