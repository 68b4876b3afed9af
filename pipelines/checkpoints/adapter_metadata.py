"""Adapter metadata: reads peft's settings that diffusers writes into a LoRA's file.

A file may come from anybody. Its patterns are regular expressions, so those that can take for ever
are refused, as is whatever is no number where one is meant.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from math import isfinite
from pathlib import Path
from typing import Any

from pipelines.checkpoints.formats.header import Header
from pipelines.errors import ModelUnavailable

_KEY = "lora_adapter_metadata"
_ALPHA, _PATTERN = "lora_alpha", "alpha_pattern"
_PATTERN_MAX = 255
_REPEATS_MAX = 3
_REPEAT = re.compile(r"[*+?{]")
_REPEATED_GROUP = re.compile(r"\)[*+?{]|\(\?|\\[1-9]")


def read_settings(path: Path, header: Header) -> Mapping[str, Any]:
    """Read the settings of all components, `unet.lora_alpha` among them; {} where there are none.

    Raises: ModelUnavailable: if they are no settings.
    """
    text = header.metadata.get(_KEY, "{}")
    try:
        settings = json.loads(text)
        if not isinstance(settings, dict):
            raise ValueError("they are no object")
        for key, value in settings.items():
            _check(key.rpartition(".")[2], value)
    except (ValueError, RecursionError) as error:
        why = str(error)[:100] or "they are nested too deep"
        raise ModelUnavailable(f"{path} has settings of its adapter that are none: {why}") from None
    return settings


def alpha_over_rank(settings: Mapping[str, Any], part: str, module: str, rank: int) -> float:
    """Compute alpha / r, or alpha / √r, of a module; 1 where the settings say nothing.

    Args:
        settings: from `read_settings`.
    """
    alpha = settings.get(f"{part}.{_ALPHA}")
    for pattern, value in (settings.get(f"{part}.{_PATTERN}") or {}).items():
        if re.match(rf"(?:.*\.)?(?:{pattern})$", module):
            alpha = value
            break
    if alpha is None:
        return 1.0
    return float(alpha) / (rank**0.5 if settings.get(f"{part}.use_rslora") else rank)


def _check(name: str, value: Any) -> None:
    """Raises: ValueError: if a setting that is used is none."""
    if value is None:
        return
    if name == _ALPHA and not _is_number(value):
        raise ValueError(f"{_ALPHA} is no number")
    if name != _PATTERN:
        return
    if not isinstance(value, dict) or not all(map(_is_number, value.values())):
        raise ValueError(f"{_PATTERN} does not give numbers")
    for pattern in value:
        tame = len(pattern) <= _PATTERN_MAX and not _REPEATED_GROUP.search(pattern)
        if not tame or len(_REPEAT.findall(pattern)) > _REPEATS_MAX:
            raise ValueError(f"{_PATTERN} has a pattern that could take for ever")
        try:
            re.compile(pattern)
        except (re.error, RecursionError, OverflowError):
            raise ValueError(f"{_PATTERN} has a pattern that is none") from None


def _is_number(value: Any) -> bool:
    if type(value) not in (int, float) or abs(value) > 1e9:
        return False
    return isfinite(value)
