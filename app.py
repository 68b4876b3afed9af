"""Contact Sheet's entry: `python app.py` serves the page; the sub-commands need no browser.

Exit status: 0 done, 1 some picture could not be made, 2 bad input (nothing was written).
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Annotated, Any

# Before any library that might phone home is imported.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import typer

from pipelines import InvalidRequest, Request, Sheet, Studio
from pipelines.axes import parse_axis, prompt_variants
from pipelines.contact import SheetFolder, check_folder
from pipelines.events import CellDone, CellFailed
from pipelines.samplers import SAMPLERS
from pipelines.store import write_png
from presets import recommended, styles_for, wildcard_folders
from ui.annotators import add_commands
from ui.control_option import ControlTexts, read_controls
from ui.download import add_download
from ui.lora_option import LoraTexts
from ui.skip_option import SkipText, read_skip
from ui.styling import style_row, styled_axis, worn
from ui.tables import model_row
from ui.terminal import (
    Group,
    bad_input_ends_here,
    check_writable,
    follow,
    quiet_libraries,
    shape_line,
    show,
)

app = typer.Typer(
    cls=Group,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="See choices of a prompt, a guidance scale or a sampler side by side.",
)
HERE = Path(__file__).parent
add_commands(app)
add_download(app)

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
    str, typer.Option("--backend", help="torch, compile, openvino, or auto: whichever is fastest.")
]
Batch = Annotated[
    int | None, typer.Option(help="Denoiser rows in a batch; default: what measures fastest.")
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]

Prompt = Annotated[str, typer.Argument(help="What the picture shows; may be empty.")]
ModelName = Annotated[str, typer.Option(help="Model id, or a model's folder.")]
NegativePrompt = Annotated[str, typer.Option(help="What it should not show.")]
StyleName = Annotated[str | None, typer.Option(help="See: python app.py styles.")]
SamplerName = Annotated[str | None, typer.Option(help="See: python app.py samplers.")]
ScheduleName = Annotated[str | None, typer.Option(help="Spacing of the noise levels.")]
Steps = Annotated[int | None, typer.Option(help="Denoising steps, 1 to 1000.")]
GuidanceScale = Annotated[
    float | None, typer.Option(help="Pull to the prompt: 1 = off, 0 = unconditional.")
]
GuidanceRescale = Annotated[
    float, typer.Option(help="0 to 1: tames over-saturation at high guidance.")
]
DistilledGuidance = Annotated[
    float | None, typer.Option(help="For FLUX.1 dev: what its network is told; default 3.5.")
]
Seed = Annotated[int, typer.Option(help="Seed of the noise.")]
Side = Annotated[int | None, typer.Option(help="Pixels; default: the model's own.")]


@app.callback(invoke_without_command=True)
def main(context: typer.Context) -> None:
    """Serve when no command is named."""
    if context.invoked_subcommand is None:
        serve()


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(help="Port; default: the first free one from 7860.")
    ] = None,
    device: Device = "auto",
    models: Models = None,
    outputs: Annotated[Path, typer.Option(help="Folder for finished pictures.")] = Path("outputs"),
    memory: Memory = None,
    exact: Exact = False,
    backend: BackendName = "torch",
    batch: Batch = None,
) -> None:
    """Serve the page."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    for noisy in ("httpx", "uvicorn.access", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    with bad_input_ends_here():
        from ui.server import serve as serve_page

        door = studio(models, device, memory, outputs, exact, backend, batch)
        serve_page(door, host=host, port=port)


@app.command()
def generate(
    prompt: Prompt,
    out: Annotated[Path, typer.Option(help="The PNG file to write.")],
    model: ModelName = "emoji",
    negative_prompt: NegativePrompt = "",
    style: StyleName = None,
    sampler: SamplerName = None,
    schedule: ScheduleName = None,
    steps: Steps = None,
    guidance_scale: GuidanceScale = None,
    guidance_rescale: GuidanceRescale = 0.0,
    distilled_guidance: DistilledGuidance = None,
    skip_layers: SkipText = None,
    seed: Seed = 0,
    width: Side = None,
    height: Side = None,
    control: ControlTexts = None,
    lora: LoraTexts = None,
    models: Models = None,
    device: Device = "auto",
    memory: Memory = None,
    exact: Exact = False,
    backend: BackendName = "torch",
    batch: Batch = None,
) -> None:
    """Make one picture and write it as PNG, with its settings inside."""
    quiet_libraries()
    with bad_input_ends_here():
        steered = read_controls(control)
        request = steered.steer(base_request(locals()))
        check_writable(out)
        door = studio(models, device, memory, None, exact, backend, batch)
        steered.bring_to(door)
        run = door.submit(Sheet(base=request), previews=False)
        outcomes = follow(run)
        if not outcomes:
            typer.echo(f"error: {run.snapshot().error or 'the run was stopped'}", err=True)
            raise typer.Exit(1)
        outcome = outcomes[0]
        if isinstance(outcome, CellDone):
            write_png(out, outcome.image, outcome.request)
    if isinstance(outcome, CellFailed):
        typer.echo(f"error: {outcome.error}", err=True)
        raise typer.Exit(1)
    typer.echo(out)


@app.command("sheet")
def make_sheet(
    prompt: Prompt,
    out: Annotated[Path, typer.Option(help="The folder to write.")],
    axis: Annotated[
        list[str],
        typer.Option(
            help="field=values, such as guidance_scale=1,3,5 or seed=100-107; may be given "
            "several times, the last runs along the columns."
        ),
    ],
    model: ModelName = "emoji",
    negative_prompt: NegativePrompt = "",
    style: StyleName = None,
    sampler: SamplerName = None,
    schedule: ScheduleName = None,
    steps: Steps = None,
    guidance_scale: GuidanceScale = None,
    guidance_rescale: GuidanceRescale = 0.0,
    distilled_guidance: DistilledGuidance = None,
    skip_layers: SkipText = None,
    seed: Seed = 0,
    width: Side = None,
    height: Side = None,
    control: ControlTexts = None,
    lora: LoraTexts = None,
    models: Models = None,
    device: Device = "auto",
    memory: Memory = None,
    outputs: Annotated[
        Path, typer.Option(help="Folder of finished pictures: what is there is not made again.")
    ] = Path("outputs"),
    exact: Exact = False,
    backend: BackendName = "torch",
    batch: Batch = None,
) -> None:
    """Make a sheet: every value of every axis, denoised together."""
    quiet_libraries()
    with bad_input_ends_here():
        folders = wildcard_folders()
        axes = [styled_axis(parse_axis(text, folders), style, model) for text in axis]
        steered = read_controls(control, axes)
        sheet = Sheet(base=steered.steer(base_request(locals())), axes=steered.axes)
        check_folder(out)
        # Checked without a store first: bad input must leave no folder behind.
        checker = studio(models, device, memory, None, exact, backend, batch)
        steered.bring_to(checker)
        for cell in sheet.expand():
            checker.resolve(cell)
        typer.echo(shape_line(sheet), err=True)
        folder = SheetFolder(out, sheet)
        door = studio(models, device, memory, outputs, exact, backend, batch)
        steered.bring_to(door)
        run = door.submit(sheet, previews=False)
        outcomes = follow(run, folder.add)
        end = run.snapshot()
        folder.finish(end.stats)
    failed = [outcome for outcome in outcomes if isinstance(outcome, CellFailed)]
    for outcome in failed:
        typer.echo(f"error: cell {outcome.cell}: {outcome.error}", err=True)
    stats = end.stats
    typer.echo(
        f"{stats.cells} cells ({stats.cells_cached} were there), {stats.rows_computed} of "
        f"{stats.rows_naive} rows in {stats.batches} batches, {stats.seconds:.1f} s: "
        f"{out / 'sheet.png'}"
    )
    if failed or len(outcomes) < stats.cells:
        raise typer.Exit(1)


@app.command("models")
def list_models(models: Models = None, as_json: AsJson = False) -> None:
    """List the models, ControlNets and LoRAs that are here."""
    with bad_input_ends_here():
        door = studio(models)
        # A LoRA in a single file is no model, and stands among the LoRAs.
        known = [info for info in door.models() if info.source != "lora"]
        found = [*known, *door.controlnets(), *door.loras()]
        rows = [model_row(door, info, as_json) for info in found]
    show(rows, as_json)


@app.command("samplers")
def list_samplers(as_json: AsJson = False) -> None:
    """List the samplers and what they cost."""
    show(
        [
            {
                "id": row.id,
                "label": row.label,
                "models": row.kind,
                "schedules": list(row.schedules),
                "order": row.order,
                "evaluations at 20 steps": row.evaluations(20),
                "stochastic": row.stochastic,
                "source": row.paper,
            }
            for row in SAMPLERS.values()
        ],
        as_json,
    )


@app.command("styles")
def list_styles(model: ModelName = "emoji", as_json: AsJson = False) -> None:
    """List the styles for a model."""
    show([style_row(name, one) for name, one in styles_for(model).items()], as_json)


@app.command("variants")
def list_variants(
    template: Annotated[str, typer.Argument(help="Such as: a {red|green} apple, __look__ [5]")],
    as_json: AsJson = False,
) -> None:
    """List the prompts that --axis prompt_variants=TEMPLATE makes."""
    with bad_input_ends_here():
        prompts = prompt_variants(template, wildcard_folders())
    typer.echo(json.dumps(prompts, indent=2, ensure_ascii=False) if as_json else "\n".join(prompts))


@app.command()
def info(file: Annotated[Path, typer.Argument(help="A picture with settings inside.")]) -> None:
    """Print the settings found in a picture, as JSON."""
    from pipelines.metadata import read_settings

    with bad_input_ends_here():
        typer.echo(json.dumps(read_settings(file), indent=2, ensure_ascii=False))


def studio(
    models: list[Path] | None,
    device: str = "auto",
    memory: float | None = None,
    outputs: Path | None = None,
    exact: bool = False,
    backend: str = "torch",
    batch: int | None = None,
) -> Studio:
    """A studio with the command line's defaults: the models that ship lie beside this file."""
    if memory is not None and memory <= 0:
        raise InvalidRequest(f"memory is {memory:g} GB; it must be more than 0")
    for folder in models or []:
        if not folder.is_dir():
            raise InvalidRequest(f"models folder {folder} does not exist")
    return Studio(
        models or [HERE / "models"],
        outputs,
        device=device,
        budget=None if memory is None else int(memory * 1e9),
        exact=exact,
        backend=backend,
        batch=batch,
    )


def base_request(given: dict[str, Any]) -> Request:
    """The Request of a command's arguments; what was left out comes from the model's preset.

    Raises: InvalidRequest, UnknownName.
    """
    chosen = {name: given[name] for name in Request.model_fields if name in given}
    chosen["loras"] = given["lora"] or ()
    chosen |= read_skip(chosen.pop("skip_layers"))
    door = studio(given["models"])
    chosen |= worn(door, given["style"], chosen)
    suggested = door.suggested(chosen["model"])
    return Request(**recommended(chosen["model"], chosen, suggested))


if __name__ == "__main__":
    app()
