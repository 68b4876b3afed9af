"""`--lora NAME[:SCALE]` on the command line. Imports no gradio."""

from __future__ import annotations

from typing import Annotated

import typer

LoraTexts = Annotated[
    list[str] | None,
    typer.Option(
        "--lora",
        help="A change of the model's weights and its scale, -4 to 4: NAME or NAME:0.8; may be "
        "given several times.",
    ),
]
