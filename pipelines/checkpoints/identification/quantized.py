"""Quantized weights: tells from a header which are read, and names those that are not.

Sources: comfyanonymous/ComfyUI (`comfy/ops.py`, `comfy/quant_ops.py`), bitsandbytes, AutoGPTQ,
    mit-han-lab/nunchaku.
"""

from __future__ import annotations

from math import prod

from pipelines.checkpoints.formats.header import Header, TensorRow
from pipelines.checkpoints.formats.scale_names import SCALES, scaled_weight

_FORMS = {
    ".comfy_quant": "comfy_quant",
    ".weight_scale_2": "NVFP4",
    ".absmax": "bitsandbytes 4 bit", ".quant_map": "bitsandbytes 4 bit",
    ".nested_absmax": "bitsandbytes 4 bit", ".nested_quant_map": "bitsandbytes 4 bit",
    ".SCB": "bitsandbytes 8 bit", ".weight_format": "bitsandbytes 8 bit",
    ".qweight": "GPTQ or SVDQuant", ".qzeros": "GPTQ or AWQ", ".wscales": "SVDQuant",
}  # fmt: skip
"""Marks of quantizations that are not read, by how a tensor's name ends."""
_FLOATS = ("F8_E4M3", "F8_E5M2", "F16", "BF16", "F32")


def unread_form(header: Header) -> str:
    """Name the quantization of a file that is not read; "" where there is none.

    Read are 8-bit floats with a scale for each tensor or each of its rows.
    """
    for name, row in header.rows.items():
        if ".quant_state.bitsandbytes__" in name:
            return "bitsandbytes 4 bit"
        for ending, form in _FORMS.items():
            if name.endswith(ending):
                return form
        if name.endswith(SCALES) and not _reads(row, header.rows.get(scaled_weight(name))):
            return f"scales such as {name!r}, which are of no known form"
    return ""


def is_scaled(header: Header) -> bool:
    """Tell whether weights must be multiplied by scales that the file holds."""
    return any(name.endswith((*SCALES, "scaled_fp8")) for name in header.rows)


def _reads(scale: TensorRow, weight: TensorRow | None) -> bool:
    if weight is None or scale.dtype not in _FLOATS[2:] or weight.dtype not in _FLOATS:
        return False
    rows = weight.shape[0] if weight.shape else 1
    one_a_row = scale.shape[:1] == (rows,) and prod(scale.shape) == rows
    return one_a_row or prod(scale.shape) == 1
