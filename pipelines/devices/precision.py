"""Dtype policy: chooses the numbers of each component, as pure arithmetic on names.

Nothing is probed here, so that all of it is tested without a GPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from pipelines.devices.hardware import Hardware

DtypeName = Literal["float32", "float16", "bfloat16"]
BYTES: Mapping[DtypeName, int] = {"float32": 4, "float16": 2, "bfloat16": 2}
T5 = "T5EncoderModel"
VAE = "AutoencoderKL"
_WIDE = 64


def dtype_name(
    hardware: Hardware,
    cls: str,
    *,
    trained_in: DtypeName = "float16",
    vae_fits_float16: bool = False,
    force_upcast: bool = True,
) -> DtypeName:
    """Choose the numbers a component computes with.

    On the CPU float32: parity is exact, and bfloat16 is slower there. On a GPU 16 bits, with the
    exponents of float32 where a model was trained with them and the card has them; without them
    T5 and most VAEs overflow, and stay in float32.

    Args:
        cls: the component's class.
        trained_in: the numbers whose range its family's networks need.
        vae_fits_float16: whether its family's VAE does without a wider range than float16's.
        force_upcast: what a VAE's config says of itself.
    """
    if hardware.kind != "cuda":
        return "float32"
    if trained_in == "bfloat16" and hardware.bfloat16:
        return "bfloat16"
    if cls == T5:
        return "bfloat16" if hardware.bfloat16 else "float32"
    if cls == VAE and force_upcast and not vae_fits_float16:
        return "float32"
    return "float16"


def channels_last(device: str, library: str, widths: Sequence[int]) -> bool:
    """Tell whether a component's convolutions run faster on channels-last tensors.

    On GPUs it always is, on the CPU where layers are wide (a batch of 16 rows of the shipped
    U-Net takes a fifth less time); narrow ones do not fill its vectors.

    Args:
        widths: channels of its levels, `block_out_channels` of its config.
    """
    wide = max(widths, default=0) >= _WIDE
    return library == "diffusers" and (device != "cpu" or wide)
