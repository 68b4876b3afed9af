"""SD.Next and other writers of AUTOMATIC1111's text: which of them wrote one.

SD.Next leaves the sampler out where it is the default, so nothing here needs one.
Source: modules/processing_info.py of vladmandic/automatic.
"""

from __future__ import annotations

from collections.abc import Mapping


def generator_of(facts: Mapping[str, str]) -> str:
    """Name the tool that wrote these facts, as far as they tell."""
    app, version = facts.get("App", ""), facts.get("Version", "")
    if app:
        return app
    for start in ("Contact Sheet", "ComfyUI", "RuinedFooocus", "Fooocus"):
        if version.startswith(start):
            return start
    if "Backend" in facts and "Pipeline" in facts:
        return "SD.Next"
    if "Civitai resources" in facts or "Civitai metadata" in facts:
        return "Civitai"
    return "AUTOMATIC1111"
