"""Settings form: the settings of a picture as components, for any tab.

Components are reached by the name of the Request field they set, never by position.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gradio as gr
from gradio.components import Component

from pipelines import ContactSheetError, InvalidRequest, Request, Studio
from pipelines.errors import shortened
from pipelines.families.capabilities import Capabilities
from pipelines.request.field_labels import FIELD_LABELS
from pipelines.request.request import draw_seed
from presets import ModelPreset
from ui.events import DIRECT, RAW, Update, Values
from ui.form.choices import (
    CUSTOM_SIZE,
    OWN_SIZE,
    SKIPPING,
    fitting_schedule,
    guidance_info,
    guider_choices,
    lora_choices,
    model_choices,
    preset_of,
    sampler_choices,
    schedule_choices,
    shown_parts,
    size_choices,
    supports_of,
)
from ui.form.fields import (
    FIXED,
    PICTURES_MAX,
    RANDOM,
    Parts,
    guidance_parts,
    lora_parts,
    sampling_parts,
    seed_parts,
    size_parts,
    skip_text,
)
from ui.form.model_menu import add_model_menu
from ui.form.prompt_help import PromptHelp


class SettingsForm:
    """Form of a tab: its components, and the Request that they stand for.

    Besides the fields of a Request there are `size` and `seed_mode`, which decide how width,
    height and seed are read, and `count`, the number of pictures. Build it in two parts, in
    the layout of a tab: `add_prompts`, `add_settings`.
    """

    def __init__(self, elem_id: str) -> None:
        self.elem_id = elem_id
        self.parts: Parts = {}
        self.help = PromptHelp(elem_id)

    def __getitem__(self, name: str) -> Any:
        return self.parts[name]

    @property
    def inputs(self) -> set[Component]:
        return set(self.parts.values())

    @property
    def outputs(self) -> list[Component]:
        return list(self.parts.values())

    @property
    def changes(self) -> list[Any]:
        """Change events of all fields."""
        return [self[name].change for name in self.parts]

    def add(self, parts: Parts) -> None:
        """Add fields that a tab has of its own, by name."""
        self.parts |= parts

    # ---- layout

    def add_prompts(self) -> None:
        """Add the two prompt boxes, and what helps with them."""
        self.parts["prompt"] = gr.Textbox(
            "",
            label=FIELD_LABELS["prompt"].label,
            lines=3,
            max_lines=8,
            placeholder=f"{FIELD_LABELS['prompt'].hint}. Ctrl+Enter generates, Escape stops.",
            elem_classes="cs-prompt",
            autofocus=True,
        )
        self.help.add_tokens()
        self.parts["negative_prompt"] = gr.Textbox(
            "",
            label=FIELD_LABELS["negative_prompt"].label,
            lines=1,
            max_lines=4,
            placeholder=FIELD_LABELS["negative_prompt"].hint,
            elem_classes="cs-prompt",
        )
        self.help.add_styles()

    def add_settings(self, studio: Studio) -> None:
        """Add everything else, with the first model's recommended values."""
        self._studio = studio
        models = model_choices(studio)
        model = models[0][1] if models else Request.model_fields["model"].default
        supports = supports_of(studio, model)
        preset = preset_of(model, supports)
        start = Request(model=model, **preset.defaults())
        self.parts["model"] = add_model_menu(studio, model, preset.about, self.elem_id)
        self.parts |= sampling_parts(start, supports)
        self.parts |= size_parts(preset)
        self.parts |= seed_parts()
        self.reuse = gr.Button(
            "Reuse the seed shown", size="sm", elem_id=f"{self.elem_id}-reuse", min_width=80
        )
        self.parts |= guidance_parts(supports)
        self.parts |= lora_parts(studio)
        for name, visible in shown_parts(supports).items():
            self.parts[name].visible = visible
        self._react()
        self.help.connect(
            studio,
            model=self["model"],
            prompt=self["prompt"],
            negative=self["negative_prompt"],
        )

    def _react(self) -> None:
        """Wire the settings that depend on each other."""
        self["model"].input(self.recommend, self["model"], self.outputs, **RAW)
        self["sampler"].input(
            fitting_schedule,
            [self["sampler"], self["schedule"]],
            self["schedule"],
            **RAW,
        )
        self["size"].input(
            lambda size: [gr.Number(visible=size == CUSTOM_SIZE)] * 2,
            self["size"],
            [self["width"], self["height"]],
            **RAW,
        )
        self["seed"].input(lambda: FIXED, None, self["seed_mode"], **DIRECT)

    # ---- meaning

    def by_name(self, values: Values) -> dict[str, Any]:
        """Map field names to raw values, from what an event with RAW hands over."""
        return {name: values[part] for name, part in self.parts.items()}

    def read(self, fields: Mapping[str, Any]) -> tuple[Request, int]:
        """Read the Request and the number of pictures that the form asks for.

        Args:
            fields: as `by_name` gives them.
        Raises: ContactSheetError: for the first value that is not possible.
        """
        given = dict(fields)
        # A box that is not shown may still hold what was typed for another model.
        for name, visible in shown_parts(supports_of(self._studio, str(given["model"]))).items():
            if not visible:
                given[name] = Request.model_fields[name].default
        count = picture_count(given["count"])
        if given["size"] == OWN_SIZE:
            given |= {"width": None, "height": None}
        elif given["size"] != CUSTOM_SIZE:
            width, _, height = str(given["size"]).partition("x")
            given |= {"width": width, "height": height}
        elif given["width"] is None or given["height"] is None:
            raise InvalidRequest("a custom size needs both a width and a height, in pixels")
        given["loras"] = given["loras"] or ()
        given["guider"] = given["guider"] or ""
        if given["seed_mode"] == RANDOM:
            given["seed"] = random_seed(count)
        return Request(**{k: v for k, v in given.items() if k in Request.model_fields}), count

    def fill(self, request: Request) -> Update:
        """Fill the form with a Request's settings, its seed fixed."""
        supports = supports_of(self._studio, request.model)
        preset = preset_of(request.model, supports)
        values = {name: getattr(request, name) for name in Request.model_fields}
        values["loras"] = [lora.text for lora in request.loras]
        values["skip_layers"] = skip_text(request)
        values["seed"] = str(request.seed)
        updates: Update = {self[name]: values[name] for name in values if name in self.parts}
        for name, visible in shown_parts(supports).items():
            updates[self[name]] = type(self[name])(values[name], visible=visible)
        updates[self["guider"]] = self._guider(supports, request.guider)
        updates[self["seed_mode"]] = FIXED
        updates[self["sampler"]] = gr.Dropdown(sampler_choices(supports), value=request.sampler)
        updates[self["schedule"]] = gr.Dropdown(
            schedule_choices(request.sampler), value=request.schedule
        )
        return updates | self._sizes(preset, request.width, request.height)

    def restore(self, fields: Any) -> Update:
        """Restore the form from fields that a browser kept; nothing if they are not valid."""
        if not isinstance(fields, dict) or set(fields) != set(self.parts):
            return {}
        try:
            request, _ = self.read(fields)
        except ContactSheetError:
            return {}
        exact = {
            self[name]: value
            for name, value in fields.items()
            if name in ("seed_mode", "seed") or name not in (*Request.model_fields, "size")
        }
        return self.fill(request) | exact

    def recommend(self, model: str) -> Update:
        """Fill the form with what suits a model best."""
        supports = supports_of(self._studio, model)
        preset = preset_of(model, supports)
        start = Request(model=model, **preset.defaults())
        shown = shown_parts(supports)
        return {
            self["model"]: gr.Dropdown(info=preset.about or None),
            self["negative_prompt"]: gr.Textbox(visible=shown["negative_prompt"]),
            self["distilled_guidance"]: gr.Number(
                start.distilled_guidance, visible=shown["distilled_guidance"]
            ),
            self["clip_skip"]: gr.Number(0, visible=shown["clip_skip"]),
            **{self[name]: type(self[name])(visible=shown[name]) for name in SKIPPING},
            self["guider"]: self._guider(supports, start.guider),
            self["sampler"]: gr.Dropdown(sampler_choices(supports), value=start.sampler),
            self["schedule"]: gr.Dropdown(schedule_choices(start.sampler), value=start.schedule),
            self["steps"]: start.steps,
            self["loras"]: gr.Dropdown(
                lora_choices(self._studio, model),
                value=[],
                multiselect=True,
                allow_custom_value=True,
            ),
            self["guidance_scale"]: gr.Number(start.guidance_scale, info=guidance_info(supports)),
            **self._sizes(preset, *(preset.sizes[0] if preset.sizes else (None, None))),
        }

    def _guider(self, supports: Capabilities | None, value: str) -> gr.Dropdown:
        """The menu of guiders, shown where there is a choice."""
        choices = guider_choices(supports)
        return gr.Dropdown(choices, value=value, visible=len(choices) > 1, allow_custom_value=True)

    def _sizes(self, preset: ModelPreset, width: int | None, height: int | None) -> Update:
        choices = size_choices(preset)
        size = OWN_SIZE if width is None or height is None else f"{width}x{height}"
        if size not in [value for _, value in choices]:
            size = CUSTOM_SIZE
        custom = size == CUSTOM_SIZE
        return {
            self["size"]: gr.Dropdown(choices, value=size),
            self["width"]: gr.Number(width, visible=custom),
            self["height"]: gr.Number(height, visible=custom),
        }


def picture_count(value: Any) -> int:
    """Check the number of pictures. Raises: InvalidRequest: if it is not from 1 to 16."""
    if value not in range(1, PICTURES_MAX + 1):
        raise InvalidRequest(
            f"the number of pictures is {shortened(repr(value))}; it must be a whole number "
            f"from 1 to {PICTURES_MAX}"
        )
    return int(value)


def random_seed(count: int) -> int:
    """Draw a seed with room for `count` that follow each other."""
    return draw_seed(count)
