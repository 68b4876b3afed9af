"""ControlNet endpoints for programs: `/preprocess` and `/controlnet`."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from gradio.processing_utils import save_pil_to_cache
from gradio.utils import get_upload_folder
from PIL import Image

from pipelines import Axis, Control, InvalidRequest, Request, Sheet, Studio, preprocessors
from pipelines.preprocessors.recognition import recognise
from pipelines.rendering.control_treatment import TREATMENTS, check_treatment, treat
from pipelines.request.axis_grammar import parse_values
from pipelines.request.control import NONE
from ui.api.parameters import Fields, File, Made, typed, with_settings
from ui.errors import shown
from ui.uploads import opened


def control_endpoints(
    studio: Studio,
    base: Callable[[Fields], Request],
    make: Callable[[Sheet], Awaitable[Made]],
) -> list[Callable[..., Any]]:
    """Build the endpoints `/preprocess` and `/controlnet`, as functions that Gradio can read.

    Args:
        base: a Request from the fields that were given.
        make: makes a sheet's pictures, within the page's limits.
    """

    @typed
    async def preprocess(
        image: File,
        preprocessor: str = "canny",
        parameters: dict[str, Any] | None = None,
        width: int | None = None,
        height: int | None = None,
        treat_as: str = TREATMENTS[0],
    ) -> tuple[File, str]:
        """A picture's map: its PNG file, and the settings that made it as JSON.

        The map is as large as the picture unless width and height say otherwise. A picture that
        looks like such a map already is used as it is, unless `treat_as` is `picture`; `notes` in
        the JSON say so, and what is odd about the map.
        """
        with shown():
            picture, name, given, notes = opened(image), preprocessor, parameters or {}, []
            settings = preprocessors.check_parameters(name, given)
            if check_treatment(treat_as) == "auto":
                found = await asyncio.to_thread(recognise, picture, name)
                if found is not None:
                    picture, notes = found.map, [found.text]
            if treat_as == "map" or notes:
                name, given = NONE, {"resize": settings["resize"]}
                settings = preprocessors.check_parameters(name, given)
            size = (width or picture.width, height or picture.height)
            made = await asyncio.to_thread(preprocessors.run, name, picture, settings, size)
            odd = preprocessors.remark(name, made)
            used = {
                "preprocessor": name, "parameters": settings,
                "width": size[0], "height": size[1], "notes": [*notes, *([odd] if odd else [])],
            }  # fmt: skip
            return _file_of(made), json.dumps(used)

    @with_settings()
    async def controlnet(
        fields: Fields,
        image: File,
        prompt: str = "",
        preprocessor: str = "canny",
        parameters: dict[str, Any] | None = None,
        controlnet: str | None = None,
        strengths: str = "1",
        start: float = 0.0,
        stop: float = 1.0,
        mode: str = "balanced",
        more_controls: list[dict[str, Any]] | None = None,
        treat_as: str = TREATMENTS[0],
    ) -> Made:
        """Pictures steered by another's map, one a strength: PNG files, and settings as JSON.

        `strengths` is a list or a range, such as `0.5, 1`. `more_controls` are objects with
        `image` and, where they differ from the usual, `preprocessor`, `parameters`, `model`,
        `strength`, `start`, `stop`, `mode` and `treat_as`. A picture that looks like such a map
        already is used as it is (`preprocessor` is `none` in the settings), unless `treat_as` is
        `picture`.
        """
        first = {
            "image": image, "preprocessor": preprocessor, "parameters": parameters or {},
            "model": controlnet, "start": start, "stop": stop, "mode": mode,
            "treat_as": treat_as,
        }  # fmt: skip
        with shown():
            values = parse_values("control_strength", strengths)
            axes = (Axis(field="control_strength", values=values),)
            request = base(fields | {"prompt": prompt})
            given = [first, *(more_controls or [])]
            controls = await asyncio.to_thread(_read_controls, studio, request.model, given)
            request = request.replace(controls=controls)
            return await make(Sheet(base=request, axes=axes))

    return [preprocess, controlnet]


def _read_controls(
    studio: Studio, model: str, given: Sequence[Mapping[str, Any]]
) -> tuple[Control, ...]:
    controls = []
    nets = studio.controlnets(model)
    for one in given:
        if not isinstance(one, Mapping):
            allowed = ", ".join(Control.model_fields)
            raise InvalidRequest(f"a control is {str(one)[:40]!r}; give an object with {allowed}")
        picture = opened(one.get("image"))
        fields = {key: value for key, value in one.items() if key != "treat_as"}
        control = Control(**{**fields, "image": studio.add_picture(picture)})
        treated = treat(control, picture, one.get("treat_as", TREATMENTS[0]), nets, model)
        if treated.control.image != control.image:
            studio.add_picture(treated.picture)
        controls.append(treated.control)
    return tuple(controls)


def _file_of(picture: Image.Image) -> File:
    path = save_pil_to_cache(picture, cache_dir=get_upload_folder(), format="png")
    return {"path": path, "meta": {"_type": "gradio.FileData"}}
