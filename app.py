"""Contact Sheet's entry: `python app.py` serves the page; the sub-commands need no browser.

Exit status: 0 done, 1 some picture could not be made, 2 bad input (nothing was written).
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path
from typing import Annotated

# Before any library that might phone home is imported.
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

import typer

from pipelines import Sheet
from pipelines.denoising.guiders.registry import GUIDERS, MODIFIERS
from pipelines.request.axis_grammar import parse_axis, prompt_variants
from pipelines.request.labels import cell_text
from pipelines.runs.events import CellDone, CellFailed
from pipelines.runs.png_metadata import write_png
from pipelines.runs.sheet_folder import SheetFolder, check_folder
from pipelines.samplers import SAMPLERS
from presets import styles_for, wildcard_folders
from ui.cli.console import (
    Group,
    bad_input_ends_here,
    check_writable,
    follow,
    quiet_libraries,
    said_if_slow,
    shape_line,
    show,
    warn,
    warn_of_equal_pictures,
)
from ui.cli.control_option import read_controls
from ui.cli.download import add_download
from ui.cli.guider_table import guider_row, modifier_row
from ui.cli.model_table import model_row
from ui.cli.options import Machine, ModelName, Models, Settings, takes
from ui.cli.preprocessors import add_commands
from ui.cli.style_option import axis_in_style, style_row

app = typer.Typer(
    cls=Group,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="See choices of a prompt, a guidance scale or a sampler side by side.",
)
add_commands(app)
add_download(app)

AsJson = Annotated[bool, typer.Option("--json", help="JSON instead of a table.")]


@app.callback(invoke_without_command=True)
def main(context: typer.Context) -> None:
    """Serve when no command is named."""
    if context.invoked_subcommand is None:
        serve()


@app.command()
@takes(Machine)
def serve(
    machine: Machine,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int | None, typer.Option(help="Port; default: the first free one from 7860.")
    ] = None,
    outputs: Annotated[Path, typer.Option(help="Folder for finished pictures.")] = Path("outputs"),
    auth: Annotated[
        str | None,
        typer.Option(
            metavar="USER:PASSWORD",
            envvar="CONTACT_SHEET_AUTH",
            show_envvar=True,
            help="Login that the page asks for; needed where other machines reach it.",
        ),
    ] = None,
    allow_host: Annotated[
        list[str] | None,
        typer.Option(help="Name by which a proxy or a network calls this server; repeatable."),
    ] = None,
) -> None:
    """Serve the page."""
    quiet_libraries()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    for noisy in ("httpx", "uvicorn.access", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    with bad_input_ends_here():
        from ui.server import serve as serve_page

        serve_page(
            machine.studio(outputs), host=host, port=port,
            auth=auth or os.environ.get("CONTACT_SHEET_AUTH") or None,
            allow_hosts=allow_host or (),
        )  # fmt: skip


@app.command()
@takes(Settings)
def generate(
    settings: Settings, out: Annotated[Path, typer.Option(help="The PNG file to write.")]
) -> None:
    """Make one picture and write it as PNG, with its settings inside."""
    quiet_libraries()
    with bad_input_ends_here():
        controls = read_controls(settings.control)
        request = controls.add_to(settings.request())
        check_writable(out)
        studio = settings.studio()
        controls.add_pictures(studio)
        plan = studio.plan(Sheet(base=request))
        warn(plan.warning_lines)
        outcomes = follow(run := studio.submit(plan, previews=False))
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
@takes(Settings)
def make_sheet(
    settings: Settings,
    out: Annotated[Path, typer.Option(help="The folder to write.")],
    axis: Annotated[
        list[str],
        typer.Option(
            help="field=values, such as guidance_scale=1,3,5 or seed=100-107; may be given "
            "several times, the last runs along the columns."
        ),
    ],
    outputs: Annotated[
        Path, typer.Option(help="Folder of finished pictures: what is there is not made again.")
    ] = Path("outputs"),
    skip_misfits: Annotated[
        bool,
        typer.Option(
            "--skip-misfits",
            help="Leave out combinations that cannot be made, such as a schedule that a sampler "
            "does not have.",
        ),
    ] = False,
) -> None:
    """Make a sheet: every value of every axis, denoised together."""
    quiet_libraries()
    with bad_input_ends_here():
        folders = wildcard_folders()
        axes = [
            axis_in_style(parse_axis(text, folders), settings.style, settings.model)
            for text in axis
        ]
        controls = read_controls(settings.control, axes)
        sheet = Sheet(base=controls.add_to(settings.request()), axes=controls.axes)
        check_folder(out)
        # Checked without a store first: bad input must leave no folder behind.
        checker = settings.studio()
        controls.add_pictures(checker)
        with said_if_slow(f"checking {shape_line(sheet)}"):
            plan = checker.plan(sheet, skip_misfits=skip_misfits)
        sheet = plan.sheet
        typer.echo(shape_line(sheet), err=True)
        warn(plan.warning_lines)
        folder = SheetFolder(out, sheet)
        studio = settings.studio(outputs)
        controls.add_pictures(studio)
        run = studio.submit(plan, previews=False)
        outcomes = follow(run, folder.add)
        end = run.snapshot()
        folder.finish(end.stats)
    warn_of_equal_pictures(plan, outcomes)
    failed = [outcome for outcome in outcomes if isinstance(outcome, CellFailed)]
    for outcome in failed:
        typer.echo(
            f"error: {cell_text(sheet, outcome.cell) or 'picture'}: {outcome.error}", err=True
        )
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
        studio = Machine(models=models).studio()
        # A LoRA in a single file is no model, and stands among the LoRAs.
        known = [info for info in studio.models() if info.source != "lora"]
        found = [*known, *studio.controlnets(), *studio.loras()]
        rows = [model_row(studio, info, as_json) for info in found]
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


@app.command("guiders")
def list_guiders(as_json: AsJson = False) -> None:
    """List the guidance methods and what they cost."""
    chosen = [guider_row(row) for row in GUIDERS.values()]
    show([*chosen, *(modifier_row(row) for row in MODIFIERS.values())], as_json)


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
    from pipelines.runs.png_metadata import read_settings

    with bad_input_ends_here():
        typer.echo(json.dumps(read_settings(file), indent=2, ensure_ascii=False))


if __name__ == "__main__":
    app()
