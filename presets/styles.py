"""Styles: templates of words around a prompt, read from `styles.toml`."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, field_validator

from pipelines.errors import InvalidRequest, UnknownName

PLACE = "{prompt}"


class Style(BaseModel):
    """Style: a template of words around a prompt.

    Attributes:
        prompt: with `{prompt}` where the prompt goes.
        negative: joins the negative prompt.
        models: ids of those it is for; none means all that no style names.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    prompt: str
    negative: str = ""
    models: tuple[str, ...] = ()

    @field_validator("prompt")
    @classmethod
    def _has_one_place(cls, text: str) -> str:
        if text.count(PLACE) != 1 or text == PLACE:
            raise ValueError(f"it must hold {PLACE} once, and words around it")
        return text

    def wrap(self, prompt: str) -> str:
        """Wrap a prompt in this style; an empty prompt leaves no comma at either end."""
        return self.prompt.replace(PLACE, prompt).strip(", ")

    def add_negative(self, negative: str) -> str:
        """Add this style's negative prompt to another."""
        return ", ".join(text for text in (negative.strip(), self.negative) if text)

    def unwrap(self, prompt: str) -> str | None:
        """Take this style off a prompt; None where it was not in it."""
        before, after = self.prompt.split(PLACE)
        if prompt == self.wrap(""):
            return ""
        if len(prompt) < len(before + after) or not prompt.startswith(before):
            return None
        return prompt[len(before) : len(prompt) - len(after)] if prompt.endswith(after) else None

    def remove_negative(self, negative: str) -> str:
        """Take this style's negative prompt off another."""
        if not self.negative or not negative.endswith(self.negative):
            return negative
        return negative.removesuffix(self.negative).removesuffix(", ")


@cache
def styles() -> dict[str, Style]:
    """List all styles by name, in the order they are shown."""
    with (Path(__file__).parent / "styles.toml").open("rb") as file:
        return {name: Style(**entry) for name, entry in tomllib.load(file).items()}


def styles_for(model: str) -> dict[str, Style]:
    """List the styles for a model, by name; `model` is its id or its folder."""
    id = Path(model).name
    own = {name: style for name, style in styles().items() if id in style.models}
    return own or {name: style for name, style in styles().items() if not style.models}


def find_style(name: str, model: str) -> Style:
    """Look up a style by name.

    Raises: UnknownName; InvalidRequest: if it is not for this model.
    """
    fit = styles_for(model)
    if name not in styles():
        raise UnknownName.of("style", name, fit, "python app.py styles lists them")
    if name not in fit:
        raise InvalidRequest(f"style {name!r} is not for {model!r}, which has {', '.join(fit)}")
    return fit[name]


def apply_style(prompt: str, negative: str, style: Style | None) -> tuple[str, str]:
    """Put both prompts into a style, in place of the one they were in; None takes it away."""
    for old in styles().values():
        inner = old.unwrap(prompt)
        if inner is not None:
            prompt, negative = inner, old.remove_negative(negative)
            break
    if style is None:
        return prompt, negative
    return style.wrap(prompt), style.add_negative(negative)
