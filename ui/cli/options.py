"""Command-line options: the settings and the machine of a picture, shared by commands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import MISSING, dataclass, fields
from functools import wraps
from inspect import Parameter, Signature, signature
from pathlib import Path
from typing import Annotated, Any, Concatenate, ParamSpec, TypeVar, cast, get_type_hints

import typer

from pipelines import InvalidRequest, Request, Studio
from pipelines.devices.memory_options import ATTENTIONS, MemoryOptions
from pipelines.devices.placement import Offload
from pipelines.devices.quantization import QUANTIZATIONS
from pipelines.request.field_labels import FIELD_LABELS
from pipelines.runs.queue import LIMIT
from pipelines.utils.value_list import split
from presets import recommended
from ui.cli.control_option import ControlTexts
from ui.cli.style_option import prompts_in_style

MODELS = Path(__file__).parents[2] / "models"
"""The models that ship."""
Models = Annotated[
    list[Path] | None,
    typer.Option("--models", help="Folder with models; may be given several times."),
]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda, cuda:1 or mps.")]
Memory = Annotated[
    float | None, typer.Option(help="GB that loaded models may take; default: from the device.")
]
Exact = Annotated[
    bool, typer.Option("--exact", help="Bits do not depend on what is made together; slower.")
]
BackendName = Annotated[
    str,
    typer.Option(
        "--backend", help="torch, compile, blocks, openvino, or auto: whichever is fastest."
    ),
]
Batch = Annotated[
    int | None, typer.Option(help="Denoiser rows in a batch; default: what measures fastest.")
]
OffloadName = Annotated[
    str,
    typer.Option(
        "--offload",
        help="Where models wait that do not fit on a GPU: auto, none, model (they come whole) or "
        "group (by layers; slowest).",
    ),
]
QuantizeName = Annotated[
    str | None,
    typer.Option(
        "--quantize",
        help=f"Fewer bits for the denoiser and T5: {', '.join(QUANTIZATIONS)}. Changes pictures. "
        "A denoiser from a GGUF file stays in its own.",
    ),
]
AttentionName = Annotated[
    str, typer.Option("--attention", help=f"For FLUX: {', '.join(ATTENTIONS)}.")
]
Prompt = Annotated[str, typer.Argument(help=FIELD_LABELS["prompt"].help)]
ModelName = Annotated[str, typer.Option(help=FIELD_LABELS["model"].help)]
NegativePrompt = Annotated[str, typer.Option(help=FIELD_LABELS["negative_prompt"].help)]
StyleName = Annotated[str | None, typer.Option(help="See: python app.py styles.")]
SamplerName = Annotated[str | None, typer.Option(help=FIELD_LABELS["sampler"].help)]
ScheduleName = Annotated[
    str | None, typer.Option("--schedule", "--scheduler", help=FIELD_LABELS["schedule"].help)
]
Steps = Annotated[int | None, typer.Option(help=FIELD_LABELS["steps"].help)]
GuidanceScale = Annotated[
    float | None,
    typer.Option(
        "--guidance-scale", "--cfg-scale", "--cfg", help=FIELD_LABELS["guidance_scale"].help
    ),
]
GuidanceRescale = Annotated[float, typer.Option(help=FIELD_LABELS["guidance_rescale"].help)]
DistilledGuidance = Annotated[
    float | None, typer.Option(help=FIELD_LABELS["distilled_guidance"].help)
]
SkipText = Annotated[
    str | None, typer.Option("--skip-layers", help=FIELD_LABELS["skip_layers"].help)
]
GuiderName = Annotated[str, typer.Option(help=FIELD_LABELS["guider"].help)]
AsDiffusers = Annotated[
    bool, typer.Option("--as-diffusers", help=FIELD_LABELS["as_diffusers"].help)
]
ClipSkip = Annotated[int, typer.Option(help=FIELD_LABELS["clip_skip"].help)]
Seed = Annotated[int, typer.Option(help=FIELD_LABELS["seed"].help)]
Side = Annotated[int | None, typer.Option(help=FIELD_LABELS["width"].help)]
LoraTexts = Annotated[list[str] | None, typer.Option("--lora", help=FIELD_LABELS["loras"].help)]


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Options of what makes pictures: the models, the device and how it computes."""

    models: Models = None
    device: Device = "auto"
    memory: Memory = None
    exact: Exact = False
    backend: BackendName = "torch"
    batch: Batch = None
    offload: OffloadName = "auto"
    quantize: QuantizeName = None
    attention: AttentionName = "torch"

    def studio(self, outputs: Path | None = None, queue_limit: int = LIMIT) -> Studio:
        """Open a studio on it. Raises: InvalidRequest."""
        if self.memory is not None and self.memory <= 0:
            raise InvalidRequest(f"memory is {self.memory:g} GB; it must be more than 0")
        for folder in self.models or []:
            if not folder.is_dir():
                raise InvalidRequest(f"models folder {folder} does not exist")
        return Studio(
            self.models or [MODELS],
            outputs,
            device=self.device,
            budget=None if self.memory is None else int(self.memory * 1e9),
            exact=self.exact,
            backend=self.backend,
            batch=self.batch,
            # `MemoryOptions.check` says what is wrong with it.
            memory_options=MemoryOptions(
                cast(Offload, self.offload), self.quantize, self.attention
            ),
            queue_limit=queue_limit,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings(Machine):
    """Options of a picture, beside those of its machine; most are a Request's fields by name."""

    prompt: Prompt
    model: ModelName = "emoji"
    negative_prompt: NegativePrompt = ""
    style: StyleName = None
    sampler: SamplerName = None
    schedule: ScheduleName = None
    steps: Steps = None
    guidance_scale: GuidanceScale = None
    guidance_rescale: GuidanceRescale = 0.0
    distilled_guidance: DistilledGuidance = None
    skip_layers: SkipText = None
    guider: GuiderName = ""
    clip_skip: ClipSkip = 0
    seed: Seed = 0
    width: Side = None
    height: Side = None
    control: ControlTexts = None
    lora: LoraTexts = None
    as_diffusers: AsDiffusers = False

    def request(self) -> Request:
        """Build the Request, without controls; what was left out comes from the model's preset.

        Raises: InvalidRequest, UnknownName.
        """
        given = {one.name: getattr(self, one.name) for one in fields(self)}
        chosen = {name: given[name] for name in Request.model_fields if name in given}
        chosen["loras"] = self.lora or ()
        chosen |= read_skip(chosen.pop("skip_layers"))
        studio = Machine(models=self.models).studio()
        chosen |= prompts_in_style(studio, self.style, chosen)
        return Request(**recommended(self.model, chosen, studio.suggested(self.model)))


Options = TypeVar("Options", bound=Machine)
Own = ParamSpec("Own")


def takes(
    kind: type[Options],
) -> Callable[[Callable[Concatenate[Options, Own], None]], Callable[..., None]]:
    """Make a command of a function: its first argument becomes an option for each field.

    Args:
        kind: the class of that first argument.
    """
    hints = get_type_hints(kind, include_extras=True)
    # Those of the class itself first, as its page of help should begin.
    shared = sorted(fields(kind), key=lambda one: one.name not in kind.__annotations__)

    def decorate(command: Callable[Concatenate[Options, Own], None]) -> Callable[..., None]:
        own = list(signature(command, eval_str=True).parameters.values())[1:]
        parameters = [one.replace(kind=Parameter.KEYWORD_ONLY) for one in own]
        for one in shared:
            default = Parameter.empty if one.default is MISSING else one.default
            parameters.append(
                Parameter(
                    one.name, Parameter.KEYWORD_ONLY, default=default, annotation=hints[one.name]
                )
            )

        @wraps(command)
        def run(**given: Any) -> None:
            names = [one.name for one in shared if one.name in given]
            options = kind(**{name: given.pop(name) for name in names})
            command(options, **given)  # type: ignore[call-arg]

        # What Typer reads; it would follow `wraps` to the function otherwise.
        described: Any = run
        described.__signature__ = Signature(parameters)
        described.__annotations__ = {one.name: one.annotation for one in parameters}
        return run

    return decorate


_SKIP_PARTS = ("scale", "start", "stop")


def read_skip(text: str | None) -> dict[str, Any]:
    """Read the fields of a Request that `--skip-layers` sets.

    Raises: InvalidRequest: if it is not written as it should be.
    """
    if text is None:
        return {}
    layers, _, rest = text.partition(":")
    found: dict[str, Any] = {"skip_layers": layers}
    for entry in split(rest):
        part, equals, value = (one.strip() for one in entry.partition("="))
        if part not in _SKIP_PARTS or not equals or f"skip_layer_{part}" in found:
            raise InvalidRequest(
                f"skip-layers {text!r}: {entry!r} is no setting; write each of "
                f"{', '.join(_SKIP_PARTS)} once, as in 7+8+9:scale=2.8,stop=0.3"
            )
        found[f"skip_layer_{part}"] = value
    return found
