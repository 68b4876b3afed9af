"""SwarmUI and StableSwarmUI: JSON with `sui_image_params`, in a PNG's text or in EXIF.

Source: docs/Image Metadata Format.md of mcmonkeyprojects/SwarmUI.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from typing import Any

from pipelines.runs.metadata.parts.json_text import plain, read_object
from pipelines.runs.metadata.parts.settings import Settings
from pipelines.runs.metadata.parts.synonyms import from_mapping, loras


def read(texts: Mapping[str, str]) -> Settings | None:
    """Read what SwarmUI wrote; None if it did not."""
    for text in texts.values():
        found = read_object(text).get("sui_image_params") if "sui_image_params" in text else None
        if isinstance(found, dict):
            return _params(found)
    return None


def _params(found: Mapping[str, Any]) -> Settings:
    weights = _list(found.get("loraweights"))
    names = _list(found.get("loras"))
    stop = plain(found.get("clipstopatlayer"))
    control = {
        "model": plain(found.get("controlnetmodel")),
        "module": plain(found.get("controlnetimagepreprocessor")),
        "weight": plain(found.get("controlnetstrength")),
        "guidance_start": plain(found.get("controlnetstart")),
        "guidance_end": plain(found.get("controlnetend")),
    }
    return from_mapping(
        "SwarmUI",
        {**found, "strength": found.get("initimagecreativity")},
        clip_skip=stop.lstrip("-") if stop else None,
        loras=loras(zip_longest(names, weights[: len(names)])),
        controlnets=({k: v for k, v in control.items() if v},) if control["model"] else (),
        hires={k: text for k, v in found.items() if k[:7] == "refiner" and (text := plain(v))},
    )


def _list(value: Any) -> list[Any]:
    if isinstance(value, str):
        return [one.strip() for one in value.split(",") if one.strip()]
    return value if isinstance(value, list) else []
