"""Styles: words that stand around a prompt, from `styles.toml`."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict, field_validator

from pipelines.errors import InvalidRequest, UnknownName

PLACE = "{prompt}"


class Style(BaseModel):
    """Words around a prompt.

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

    def around(self, prompt: str) -> str:
        """The prompt in this style; an empty prompt leaves no comma at either end."""
        return self.prompt.replace(PLACE, prompt).strip(", ")

    def against(self, negative: str) -> str:
        """The negative prompt, with this style's added."""
        return ", ".join(text for text in (negative.strip(), self.negative) if text)

    def within(self, prompt: str) -> str | None:
        """The prompt that was put into this style; None where it was not."""
        before, after = self.prompt.split(PLACE)
        if prompt == self.around(""):
            return ""
        if len(prompt) < len(before + after) or not prompt.startswith(before):
            return None
        return prompt[len(before) : len(prompt) - len(after)] if prompt.endswith(after) else None

    def apart(self, negative: str) -> str:
        """The negative prompt without this style's."""
        if not self.negative or not negative.endswith(self.negative):
            return negative
        return negative.removesuffix(self.negative).removesuffix(", ")


@cache
def styles() -> dict[str, Style]:
    """All styles by name, in the order they are shown."""
    with (Path(__file__).parent / "styles.toml").open("rb") as file:
        return {name: Style(**entry) for name, entry in tomllib.load(file).items()}


def styles_for(model: str) -> dict[str, Style]:
    """Those for a model, by name; `model` is its id or its folder."""
    id = Path(model).name
    own = {name: style for name, style in styles().items() if id in style.models}
    return own or {name: style for name, style in styles().items() if not style.models}


def find_style(name: str, model: str) -> Style:
    """A style by name. Raises: UnknownName; InvalidRequest: if it is not for this model."""
    fit = styles_for(model)
    if name not in styles():
        raise UnknownName.of("style", name, fit, "python app.py styles lists them")
    if name not in fit:
        raise InvalidRequest(f"style {name!r} is not for {model!r}, which has {', '.join(fit)}")
    return fit[name]


def restyled(prompt: str, negative: str, style: Style | None) -> tuple[str, str]:
    """Both prompts in a style, in place of the one they were in; None takes it away."""
    for worn in styles().values():
        inner = worn.within(prompt)
        if inner is not None:
            prompt, negative = inner, worn.apart(negative)
            break
    return (prompt, negative) if style is None else (style.around(prompt), style.against(negative))
