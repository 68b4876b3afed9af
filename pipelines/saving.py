"""What a user may choose to save memory or time on a device, and which packages that needs.

Listing and checking these imports none of the packages.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from math import prod
from typing import get_args

from pipelines.errors import InvalidRequest, UnknownName
from pipelines.memory import T5, Offload


@dataclass(frozen=True, slots=True)
class Choice:
    """One row of a table.

    Attributes:
        library: must be importable; "" for torch's own.
        install: what brings it.
        devices: kinds of device it runs on; () = all.
        bits: of a quantised number, its share of the scales included.
        call: diffusers' name of an attention backend.
    """

    id: str
    library: str = ""
    install: str = ""
    devices: tuple[str, ...] = ()
    bits: float = 0.0
    call: str = ""


QUANTIZE_INSTALL = "pip install -r requirements-quantize.txt"
QUANTIZATIONS = {
    row.id: row
    for row in (
        # One scale of 32 bits for 64 numbers of 4; one for a whole row of 8.
        Choice("nf4", "bitsandbytes", QUANTIZE_INSTALL, ("cpu", "cuda"), bits=4.5),
        Choice("int8", "torchao", QUANTIZE_INSTALL, ("cpu", "cuda"), bits=8.25),
        Choice("fp8", "torchao", QUANTIZE_INSTALL, ("cuda",), bits=8.25),
    )
}
"""How the denoiser's and T5's linear layers may be stored; computing goes on in 16 bits."""

ATTENTIONS = {
    row.id: row
    for row in (
        Choice("torch", call="native"),
        Choice("math", call="_native_math"),
        Choice("cudnn", devices=("cuda",), call="_native_cudnn"),
        Choice("flash", "flash_attn", "pip install flash-attn", ("cuda",), call="flash"),
        Choice("sage", "sageattention", "pip install sageattention", ("cuda",), call="sage"),
        Choice("xformers", "xformers", "pip install xformers", ("cuda",), call="xformers"),
    )
}
"""What computes attention in FLUX' transformer; the other families' is torch's own."""

_TABLES = {"quantize": QUANTIZATIONS, "attention": ATTENTIONS}


@dataclass(frozen=True, slots=True)
class Saving:
    """What the user chose.

    Attributes:
        offload: where components wait; `auto` = on the device as long as they fit.
        quantize: a row of `QUANTIZATIONS`; None = not.
        attention: a row of `ATTENTIONS`.
    """

    offload: Offload = "auto"
    quantize: str | None = None
    attention: str = "torch"

    def check(self) -> None:
        """Raises: UnknownName, InvalidRequest: if there is no such choice, or it lacks a package.

        In the second case the message has the command that installs it.
        """
        known = list(get_args(Offload))
        if self.offload not in known:
            raise UnknownName.of(
                "offload", self.offload, known, f"--offload takes {', '.join(known)}"
            )
        for option, name in self._named():
            rows = _TABLES[option]
            if name not in rows:
                raise UnknownName.of(option, name, rows, f"--{option} takes {', '.join(rows)}")
            row = rows[name]
            if row.library and find_spec(row.library) is None:
                raise InvalidRequest(
                    f"--{option} {name} needs {row.library}, which is not installed; "
                    f"{row.install}, or leave --{option} out"
                )

    def check_device(self, device: str) -> None:
        """Raises: InvalidRequest: if a choice does not run on a device."""
        kind = device.split(":")[0]
        for option, name in self._named():
            rows = _TABLES[option]
            if rows[name].devices and kind not in rows[name].devices:
                fit = [row.id for row in rows.values() if not row.devices or kind in row.devices]
                raise InvalidRequest(
                    f"--{option} {name} runs on {', '.join(rows[name].devices)}, not on {device}; "
                    f"take {' or '.join(fit)}, or leave it out"
                )

    @property
    def mark(self) -> str:
        """What of this changes bits beside the weights, as a part of a cell's address."""
        return "" if self.attention == "torch" else f" {self.attention}"

    def _named(self) -> list[tuple[str, str]]:
        chosen = [("attention", self.attention)]
        return chosen if self.quantize is None else [("quantize", self.quantize), *chosen]


USUAL = Saving()


def quantizes(cls: str, denoiser: bool) -> bool:
    """Whether a component's layers are stored in fewer bits where that was chosen.

    The denoiser and T5 are nearly all of a large model; the rest is small and more sensitive.
    """
    return denoiser or cls == T5


def is_quantized(name: str, shape: tuple[int, ...]) -> bool:
    """Whether a weight is one of a linear layer that can be, by its name and shape in the file."""
    # T5's `wo` is asked for its type, which then must be one to compute with.
    kept = ("embed", "shared", ".wo.", "relative_attention_bias")
    linear = len(shape) == 2 and name.endswith(".weight") and not any(k in name for k in kept)
    # A scale is for 64 numbers of one row, and kernels take rows in blocks; all large layers fit.
    return linear and shape[0] % 64 == shape[1] % 64 == 0


def quantized_bytes(shapes: Mapping[str, tuple[int, ...]], bits: float, item: int) -> int:
    """Bytes of a component whose linear layers have so many bits a number, the rest `item` bytes.

    Args:
        shapes: of its tensors, by name.
    """
    return sum(
        int(prod(shape) * bits / 8) if is_quantized(name, shape) else prod(shape) * item
        for name, shape in shapes.items()
    )
