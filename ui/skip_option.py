"""`--skip-layers 7+8+9:scale=2.8,start=0.01,stop=0.2` on the command line. Imports no gradio."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from pipelines import InvalidRequest
from pipelines.request.axis_grammar import split

SkipText = Annotated[
    str | None,
    typer.Option(
        "--skip-layers",
        help="For SD 3.5: layers that guidance skips, such as 7+8+9, or "
        "7+8+9:scale=2.8,start=0.01,stop=0.2.",
    ),
]
_PARTS = ("scale", "start", "stop")


def read_skip(text: str | None) -> dict[str, Any]:
    """The fields of a Request that `--skip-layers` sets.

    Raises: InvalidRequest: if it is not written as it should be.
    """
    if text is None:
        return {}
    layers, _, rest = text.partition(":")
    fields: dict[str, Any] = {"skip_layers": layers}
    for entry in split(rest):
        part, equals, value = (one.strip() for one in entry.partition("="))
        if part not in _PARTS or not equals or f"skip_layer_{part}" in fields:
            raise InvalidRequest(
                f"skip-layers {text!r}: {entry!r} is no setting; write each of "
                f"{', '.join(_PARTS)} once, as in 7+8+9:scale=2.8,stop=0.3"
            )
        fields[f"skip_layer_{part}"] = value
    return fields
