"""PNG metadata: writes settings into pictures and reads those of other tools too."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.errors import InvalidRequest
from pipelines.request.control import Control
from pipelines.request.request import Request
from pipelines.request.sheet import Sheet
from pipelines.request.skip_layers import layers_text
from pipelines.runs.metadata.carriers.texts import SHEET, read_texts
from pipelines.runs.metadata.readers import read_foreign
from pipelines.runs.metadata.request_fields import told
from pipelines.samplers import SAMPLERS
from pipelines.utils.files import save_png
from pipelines.utils.images import PIXELS_MAX as PIXELS_MAX

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.PngImagePlugin import PngInfo


def write_png(path: Path, image: Image, request: Request) -> Path:
    """Write a PNG with its settings, whole or not at all.

    Raises: InvalidRequest: if the place cannot be written.
    """
    return save_png(path, image, png_info(request))


OURS = "contact_sheet"
COMMON = "parameters"


def settings_text(request: Request) -> str:
    """Write settings in the grammar that AUTOMATIC1111's web UI writes and many tools read."""
    # Where that web UI, and what reads its grammar, keeps LoRAs.
    loras = "".join(f" <lora:{one}>" for one in request.loras)
    lines = [f"{request.prompt}{loras}".strip() if loras else request.prompt]
    if request.negative_prompt:
        lines.append(f"Negative prompt: {request.negative_prompt}")
    facts: dict[str, Any] = {
        "Steps": request.steps,
        "Sampler": SAMPLERS[request.sampler].label,
        "Schedule type": request.schedule.replace("_", " ").capitalize(),
        "CFG scale": f"{request.guidance_scale:g}",
        "Distilled CFG Scale": (
            None if request.distilled_guidance is None else f"{request.distilled_guidance:g}"
        ),
        "Seed": request.seed,
        "Size": f"{request.width}x{request.height}" if request.width and request.height else None,
        "Model": request.model,
        "CFG rescale": f"{request.guidance_rescale:g}" if request.guidance_rescale else None,
        "Guidance start": f"{request.guidance_start:g}" if request.guidance_start else None,
        "Guidance stop": f"{request.guidance_stop:g}" if request.guidance_stop < 1.0 else None,
        "Guider": request.guider or None,
        "As diffusers": "True" if request.as_diffusers else None,
        # Counted from 1 in that grammar.
        "Clip skip": request.clip_skip + 1 if request.clip_skip else None,
        **(_skip_facts(request) if request.skip_layers else {}),
        **{f"ControlNet {i}": _control_text(one) for i, one in enumerate(request.controls)},
        "Version": "Contact Sheet",
    }
    lines.append(", ".join(f"{k}: {_quote(v)}" for k, v in facts.items() if v is not None))
    return "\n".join(lines)


def _skip_facts(request: Request) -> dict[str, str]:
    """Skip-layer guidance, for which the grammar has no names."""
    return {
        "Skip layers": layers_text(request.skip_layers),
        "Skip layer scale": f"{request.skip_layer_scale:g}",
        "Skip layer start": f"{request.skip_layer_start:g}",
        "Skip layer stop": f"{request.skip_layer_stop:g}",
    }


_MODES = {
    "balanced": "Balanced",
    "prompt": "My prompt is more important",
    "control": "ControlNet is more important",
}


def _control_text(control: Control) -> str:
    """A control as the web UI's ControlNet extension writes it."""
    return (
        f"Module: {control.preprocessor}, Model: {control.model}, Weight: {control.strength:g}, "
        f"Guidance Start: {control.start:g}, Guidance End: {control.stop:g}, "
        f"Control Mode: {_MODES[control.mode]}"
    )


def _quote(value: Any) -> str:
    """A value as it is; in JSON quotes if the grammar would split it."""
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if any(c in text for c in ',:\n"') else text


def png_info(request: Request) -> PngInfo:
    """Build the text chunks of a picture made from this Request."""
    from PIL.PngImagePlugin import PngInfo

    info = PngInfo()
    info.add_itxt(COMMON, settings_text(request))
    info.add_itxt(OURS, request.to_json())
    return info


def sheet_info(sheet: Sheet) -> PngInfo:
    """Build the text chunks of a sheet's grid: its base Request's, and the whole sheet."""
    info = png_info(sheet.base)
    info.add_itxt(SHEET, json.dumps(sheet.model_dump(mode="json"), ensure_ascii=False))
    return info


def read_sheet(texts: Mapping[str, str]) -> Sheet | None:
    """Read the sheet that a grid of ours carries; None for other pictures.

    Args:
        texts: of the picture, by keyword.
    Raises: InvalidRequest, UnknownName: if it carries one that this version cannot read.
    """
    if SHEET not in texts:
        return None
    try:
        told = json.loads(texts[SHEET])
    except (ValueError, RecursionError) as error:
        raise InvalidRequest(f"the sheet in the picture is no JSON: {error}") from None
    if not isinstance(told, dict):
        raise InvalidRequest("the sheet in the picture is no JSON object")
    return Sheet(**told)


def read_request(image: Image) -> Request | None:
    """Read the Request that a picture of ours carries; None for other pictures.

    Raises: InvalidRequest, UnknownName: if it carries one that this version cannot read.
    """
    # Ours stands before the pixels; `text` would decode them all to look behind them as well.
    text = image.info.get(OURS) or getattr(image, "text", {}).get(OURS)
    return Request.from_json(text) if isinstance(text, str) else None


def read_settings(path: Path) -> dict[str, Any]:
    """Read the settings in a picture, ours or another tool's, ready for JSON.

    Ours give the Request's fields; a grid of a sheet those of its base, and all of it as `sheet`.
    Others give `generator`, `prompts`, `negative_prompts`,
    `samplers`, `models` and more as far as they are found; `request` holds those of them that a
    Request can hold, `not_held` says why it cannot hold the rest.
    Raises: InvalidRequest: if the file is no picture, too large, or carries no settings.
        UnknownName: if it is one of ours that this version cannot read.
    """
    texts = read_texts(path)
    sheet = read_sheet(texts)
    if sheet is not None:
        return {**sheet.base.model_dump(), "sheet": sheet.model_dump(mode="json")}
    if OURS in texts:
        return Request.from_json(texts[OURS]).model_dump()
    found = read_foreign(texts, path)
    if found is None:
        raise InvalidRequest(f"{path} carries no settings of an image generator")
    return dict(told(found))
