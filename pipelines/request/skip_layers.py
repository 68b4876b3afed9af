"""Skip-layer field: reads the layers of a transformer that skip-layer guidance leaves out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

FIELD = "skip_layers"
NONE = "none"
"""A value of a `skip_layers` axis: the picture without it."""
_TEXT = re.compile(r"^\s*\d+(?:[\s+,]+\d+)*\s*$")


def _read(value: Any) -> Any:
    """Numbers in order, each once, so that equal means equal; from text such as `7+8+9` too."""
    if isinstance(value, str):
        if value.strip().lower() in ("", NONE):
            return ()
        if not _TEXT.match(value):
            return value
        value = [int(number) for number in re.findall(r"\d+", value)]
    whole = isinstance(value, Sequence) and all(type(one) is int for one in value)
    return tuple(sorted(set(value))) if whole else value


Layers = Annotated[tuple[Annotated[int, Field(strict=True, ge=0)], ...], BeforeValidator(_read)]


def layers_text(layers: Sequence[int]) -> str:
    """Write layers as they are read again, such as `7+8+9`."""
    return "+".join(map(str, layers)) or NONE
