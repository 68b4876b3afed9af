"""Memory options: offloading, quantization and attention, as a user chooses them.

Checking them imports none of the packages that they need.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import get_args

from pipelines.devices.placement import Offload
from pipelines.devices.quantization import (
    QUANTIZATIONS,
    Choice,
)
from pipelines.errors import InvalidRequest, UnknownName

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
class MemoryOptions:
    """Memory options: hold what the user chose.

    Attributes:
        offload: where components wait; `auto` = on the device as long as they fit.
        quantize: a row of `QUANTIZATIONS`; None = not.
        attention: a row of `ATTENTIONS`.
    """

    offload: Offload = "auto"
    quantize: str | None = None
    attention: str = "torch"

    def check(self) -> None:
        """Check the choices.

        Raises: UnknownName: if there is no such choice.
            InvalidRequest: if it lacks a package, with the command that installs it.
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
        """Check that the choices run on a device. Raises: InvalidRequest: if one does not."""
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


DEFAULT_MEMORY = MemoryOptions()
