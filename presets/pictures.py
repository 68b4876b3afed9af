"""Example pictures for controls: lists what lies in `controls/` beside this module."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

from pydantic import BaseModel, ConfigDict

_HERE = Path(__file__).parent


class ExamplePicture(BaseModel):
    """Example picture: a picture or a map to begin with, and what to do with it.

    Attributes:
        like: the preprocessor whose maps a ready-made one resembles.
        skeletons: file with the joints of the people in it, which need not be found then.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: str
    file: str
    preprocessor: str
    prompt: str
    like: str | None = None
    skeletons: str | None = None

    @property
    def path(self) -> Path:
        """File of the picture."""
        return _HERE / "controls" / self.file

    def skeletons_text(self) -> str | None:
        """Read the people in it, as `skeletons.to_json` wrote them."""
        if self.skeletons is None:
            return None
        return self.path.with_name(self.skeletons).read_text(encoding="utf-8")


@cache
def example_pictures() -> tuple[ExamplePicture, ...]:
    """List the pictures, in the order they are shown."""
    with (_HERE / "controls.toml").open("rb") as file:
        return tuple(ExamplePicture(**entry) for entry in tomllib.load(file)["picture"])
