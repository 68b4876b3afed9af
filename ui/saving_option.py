"""The command line's options that save memory on a device."""

from __future__ import annotations

from typing import Annotated, cast

import typer

from pipelines.devices.memory_options import ATTENTIONS, Saving
from pipelines.devices.placement import Offload
from pipelines.devices.quantization import QUANTIZATIONS

OffloadName = Annotated[
    str,
    typer.Option(
        "--offload",
        help="Where models wait that do not fit on a GPU: auto, none, model (they come whole) or "
        "group (by layers; slowest).",
    ),
]
QuantizeName = Annotated[
    str | None,
    typer.Option(
        "--quantize",
        help=f"Fewer bits for the denoiser and T5: {', '.join(QUANTIZATIONS)}. Changes pictures. "
        "A denoiser from a GGUF file stays in its own.",
    ),
]
AttentionName = Annotated[
    str, typer.Option("--attention", help=f"For FLUX: {', '.join(ATTENTIONS)}.")
]


def saving(offload: str, quantize: str | None, attention: str) -> Saving:
    """What the options say; `Saving.check` says what is wrong with it."""
    return Saving(cast(Offload, offload), quantize, attention)
