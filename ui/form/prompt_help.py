"""Prompt help: counts a prompt's tokens as it is typed, and puts it into a style."""

from __future__ import annotations

import html

import gradio as gr

from pipelines import ContactSheetError, Studio
from pipelines.request.base import PROMPT_MAX
from presets import apply_style, styles_for
from ui.events import RAW

NO_STYLE = ""
UNKNOWN = "&nbsp;"
"""A line as high as any: the form must not move while a prompt is typed."""


class PromptHelp:
    """Token count and style menu beside the prompts. Neither is a setting: a style is words."""

    def __init__(self, elem_id: str) -> None:
        self.elem_id = elem_id

    def add_tokens(self) -> None:
        """Add the token count, under the prompt."""
        self.tokens = gr.HTML(
            _line(UNKNOWN), elem_id=f"{self.elem_id}-tokens", elem_classes="cs-tokens"
        )

    def add_styles(self) -> None:
        """Add the style menu, below the prompts."""
        self.styles = gr.Dropdown(
            [("None", NO_STYLE)],
            value=NO_STYLE,
            label="Style",
            info="Adds its words to the prompts",
        )

    def connect(
        self, studio: Studio, *, model: gr.Dropdown, prompt: gr.Textbox, negative: gr.Textbox
    ) -> None:
        """Wire both to the form's model and prompts."""
        self.styles.choices = [*style_choices(str(model.value))]
        gr.on(
            [prompt.change, model.change],
            lambda model, text: tokens_line(studio, model, text),
            [model, prompt],
            self.tokens,
            trigger_mode="always_last",
            **RAW,
        )
        model.change(
            lambda model: gr.Dropdown(style_choices(model), value=NO_STYLE),
            model,
            self.styles,
            **RAW,
        )
        self.styles.input(
            change_style, [model, self.styles, prompt, negative], [prompt, negative], **RAW
        )


def style_choices(model: str) -> list[tuple[str, str]]:
    """List title and name of every style for a model, and none."""
    return [("None", NO_STYLE), *((one.title, name) for name, one in styles_for(model).items())]


def change_style(model: str, name: str, prompt: str, negative: str) -> tuple[str, str]:
    """Put both prompts into the chosen style, in place of the one they were in."""
    return apply_style(prompt, negative, styles_for(model).get(name))


def tokens_line(studio: Studio, model: str, prompt: str) -> str:
    """Count a prompt's tokens, and say what of it is cut; a blank line where that is not known."""
    if len(prompt) > PROMPT_MAX:  # tokenizers take minutes for a book
        return _line(f"{len(prompt):,} characters; a prompt has at most {PROMPT_MAX:,}")
    try:
        tokens = studio.tokens(model, prompt) if prompt else None
    except ContactSheetError:  # said when the picture is asked for
        tokens = None
    if tokens is None:
        return _line(UNKNOWN)
    text = f"{tokens.count} of {tokens.most} tokens"
    if tokens.parts > 1:
        text = f"{tokens.count} tokens, read in {tokens.parts} parts"
    if tokens.cut:
        text += f'; not read: <strong class="cs-cut">{html.escape(tokens.cut)}</strong>'
    return _line(text)


def _line(text: str) -> str:
    return f'<p class="cs-note">{text}</p>'
